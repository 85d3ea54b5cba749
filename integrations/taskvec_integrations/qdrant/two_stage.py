"""Good defaults for Matryoshka search in Qdrant: a small vector in RAM finds candidates, the full one on disk ranks them.

Only makes arguments for the client's methods, so it serves the sync and the async client, and you can change any argument
before you pass it on. Talks to no server.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from taskvec.integration import check_whole

FULL, SMALL, WORDS = "full", "small", "words"
"""Names of the vectors of a point: the full one, the one cut from it, and the sparse one for BM25."""
BM25 = "Qdrant/bm25"

Arguments = dict[str, Any]
"""Keyword arguments for a method of the client."""

Options = Mapping[str, Any] | None


@dataclass(frozen=True)
class TwoStageSearch:
    """Arguments for a collection with two vectors of each text, and for the queries that use both.

        search = TwoStageSearch("mini", dimensions=384)
        client.create_collection("docs", **search.collection())
        client.upsert("docs", [PointStruct(id=1, vector=search.vectors("Bread rises."))])
        client.query_points("docs", **search.query("Why does bread rise?"))

    Args:
        model: the name that Documents carry.
        dimensions: of the full vector.
        small: dimensions of the other vector. None is a quarter of the full ones.
        oversampling: how many candidates the small vector finds for each result, at least 1.
        bm25: the language of the texts, such as "english", for hybrid search with BM25. A Qdrant server from 1.15.3 on counts
            the words itself, with qdrant-client before 1.17.1 only under `cloud_inference=True`; an embedded Qdrant needs
            fastembed for it.
        tenant: the payload field that names the tenant of a point. Every query then names one tenant and finds only its points.

    Raises:
        TypeError: a number is not a number.
        ValueError: `small` or `oversampling` is out of range.
    """

    model: str
    dimensions: int
    small: int | None = None
    oversampling: float = 8.0
    bm25: str | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        check_whole("dimensions", self.dimensions)
        check_whole("small", self.small_dimensions)
        if not isinstance(self.oversampling, int | float) or isinstance(self.oversampling, bool):
            raise TypeError(f"oversampling is {self.oversampling!r}: a number was expected")
        if not 1 <= self.small_dimensions < self.dimensions:
            raise ValueError(f"small is {self.small_dimensions}: use 1 to {self.dimensions - 1}, fewer than the full vector has")
        if not self.oversampling >= 1:
            raise ValueError(f"oversampling is {self.oversampling}: a result needs at least 1 candidate")

    @property
    def small_dimensions(self) -> int:
        """Dimensions of the small vector."""
        return self.dimensions // 4 if self.small is None else self.small

    def collection(self) -> Arguments:
        """For `create_collection`: small vectors as int8 in RAM with an index, full ones as float16 on disk without one."""
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        vectors = {
            SMALL: models.VectorParams(
                size=self.small_dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
                quantization_config=models.ScalarQuantization(scalar=int8),
                # One graph for each tenant instead of one for all points, since no query reaches beyond a tenant.
                hnsw_config=models.HnswConfigDiff(m=0, payload_m=16) if self.tenant else None,
            ),
            FULL: models.VectorParams(
                size=self.dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
                hnsw_config=models.HnswConfigDiff(m=0),  # it only ranks candidates, so no graph is built
            ),
        }
        words = {WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)}
        return {"vectors_config": vectors} | ({"sparse_vectors_config": words} if self.bm25 else {})

    def indexes(self) -> list[Arguments]:
        """For `create_payload_index`, one call for each, before points are written: only a tenant field needs an index."""
        schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        return [{"field_name": self.tenant, "field_schema": schema}] if self.tenant else []

    def vectors(self, text: str, options: Options = None) -> dict[str, models.Document]:
        """For `PointStruct(vector=...)`: a text in both dimensions, which is encoded once, and its words for BM25.

        Args:
            text: a chunk.
            options: as in `Document.options`, such as document_id, but without dimensions.

        Raises:
            ValueError: `options` has dimensions.
        """
        if "dimensions" in (options or {}):
            raise ValueError(
                f"TwoStageSearch sets the dimensions itself ({self.dimensions} and {self.small_dimensions}): leave them out of "
                "options"
            )
        documents = {
            name: models.Document(text=text, model=self.model, options={**(options or {}), "dimensions": dimensions})
            for name, dimensions in ((FULL, self.dimensions), (SMALL, self.small_dimensions))
        }
        words = {WORDS: models.Document(text=text, model=BM25, options={"language": self.bm25})} if self.bm25 else {}
        return documents | words

    def query(
        self,
        text: str,
        *,
        limit: int = 10,
        query_filter: models.Filter | None = None,
        tenant: str | None = None,
        options: Options = None,
    ) -> Arguments:
        """For `query_points`: the best candidates, with BM25 fused with the points that match the words of the text best.

        Args:
            text: what is searched for.
            limit: how many points to find.
            query_filter: which points may be found.
            tenant: whose points may be found, where the collection has tenants.
            options: as in `Document.options`, but without dimensions.

        Raises:
            ValueError: `tenant` is missing where there are tenants, or given where there are none; `options` has dimensions.
        """
        documents = self.vectors(text, options)
        visible = self._filter(query_filter, tenant)
        candidate_limit = math.ceil(limit * self.oversampling)
        unscored = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=False))  # the full vector does that
        candidates = models.Prefetch(query=documents[SMALL], using=SMALL, limit=candidate_limit, filter=visible, params=unscored)
        if not self.bm25:
            return {"query": documents[FULL], "using": FULL, "prefetch": candidates, "limit": limit}
        ranked = models.Prefetch(query=documents[FULL], using=FULL, prefetch=candidates, limit=candidate_limit)
        words = models.Prefetch(query=documents[WORDS], using=WORDS, limit=candidate_limit, filter=visible)
        return {"query": models.FusionQuery(fusion=models.Fusion.RRF), "prefetch": [ranked, words], "limit": limit}

    def groups(
        self,
        text: str,
        *,
        group_by: str,
        limit: int = 10,
        group_size: int = 3,
        query_filter: models.Filter | None = None,
        tenant: str | None = None,
        options: Options = None,
    ) -> Arguments:
        """For `query_points_groups`: the best documents, each with its best chunks.

        Args:
            text: what is searched for.
            group_by: the payload field that names the document of a chunk.
            limit: how many documents to find.
            group_size: the most chunks of each.
            query_filter: which points may be found.
            tenant: whose points may be found, where the collection has tenants.
            options: as in `Document.options`, but without dimensions.

        Raises:
            ValueError: as `query`.
        """
        arguments = self.query(text, limit=limit * group_size, query_filter=query_filter, tenant=tenant, options=options)
        return {**arguments, "group_by": group_by, "limit": limit, "group_size": group_size}

    def _filter(self, query_filter: models.Filter | None, tenant: str | None) -> models.Filter | None:
        if self.tenant is None and tenant is None:
            return query_filter
        if self.tenant is None:
            raise ValueError(
                f"tenant is {tenant!r}, but this TwoStageSearch has no tenants: name their payload field with "
                "TwoStageSearch(tenant=...)"
            )
        if tenant is None:
            raise ValueError(f"tenant is missing: the collection has tenants in the field {self.tenant!r}, so pass tenant=...")
        of_tenant = models.FieldCondition(key=self.tenant, match=models.MatchValue(value=tenant))
        return models.Filter(must=[of_tenant] if query_filter is None else [of_tenant, query_filter])
