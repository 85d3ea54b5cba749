"""Good defaults for Matryoshka search in Qdrant: a small vector in RAM finds candidates, the full one on disk ranks them.

Only makes arguments for the client's own methods, so it works with the sync and the async client and everything can be
changed on the way. Talks to no server.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from taskvec.integration import check_whole

FULL, SMALL, WORDS = "full", "small", "words"
BM25 = "Qdrant/bm25"

Arguments = dict[str, Any]
"""Keyword arguments for a method of the client."""

Options = Mapping[str, Any] | None


@dataclass(frozen=True)
class TwoStageSearch:
    """The plan of a collection with two vectors of each text, and of the queries that use both.

    model: the name that Documents carry. dimensions: of the full vector. small: of the other one (None: a quarter of it).
    oversampling: how many candidates the small vector finds for each result. bm25: the language of the texts, such as
    "english", for hybrid search; a Qdrant server counts the words itself (1.15.3 on; qdrant-client before 1.17.1 hands them
    over with cloud_inference=True only), the embedded one needs fastembed.
    tenant: the payload field that tells whose a point is; every query then names one and sees nothing else.
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
            raise ValueError(f"small is {self.small_dimensions}: use 1 to {self.dimensions - 1}, less than the full vector has")
        if not self.oversampling >= 1:
            raise ValueError(f"oversampling is {self.oversampling}: a result needs at least 1 candidate")

    @property
    def small_dimensions(self) -> int:
        """Dimensions of the small vector."""
        return self.dimensions // 4 if self.small is None else self.small

    def collection(self) -> Arguments:
        """For `create_collection`: small vectors as int8 in RAM under an index, full ones as float16 on disk and without one."""
        int8 = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
        vectors = {
            SMALL: models.VectorParams(
                size=self.small_dimensions,
                distance=models.Distance.COSINE,
                datatype=models.Datatype.FLOAT16,
                on_disk=True,
                quantization_config=models.ScalarQuantization(scalar=int8),
                # A graph for each tenant instead of one of all points, as no query reaches beyond a tenant.
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
        """For `create_payload_index`, one call each, before points are written: the tenant's, where there are tenants."""
        schema = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
        return [{"field_name": self.tenant, "field_schema": schema}] if self.tenant else []

    def vectors(self, text: str, options: Options = None) -> dict[str, models.Document]:
        """For `PointStruct(vector=...)`: a text in both dimensions (it is encoded once), and its words for BM25.

        options: as in `Document.options`, such as document_id; the plan sets dimensions itself.
        """
        if "dimensions" in (options or {}):
            raise ValueError(f"the plan sets dimensions ({self.dimensions}, {self.small_dimensions}): leave them out of options")
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
        """For `query_points`: the `limit` best of the candidates, fused with the best by their words where there is BM25."""
        documents = self.vectors(text, options)
        seen = self._filter(query_filter, tenant)
        most = math.ceil(limit * self.oversampling)
        unscored = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=False))  # the full vector does that
        candidates = models.Prefetch(query=documents[SMALL], using=SMALL, limit=most, filter=seen, params=unscored)
        if not self.bm25:
            return {"query": documents[FULL], "using": FULL, "prefetch": candidates, "limit": limit}
        ranked = models.Prefetch(query=documents[FULL], using=FULL, prefetch=candidates, limit=most)
        words = models.Prefetch(query=documents[WORDS], using=WORDS, limit=most, filter=seen)
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
        """For `query_points_groups`: the best `limit` documents with up to `group_size` of their chunks.

        group_by: the payload field that tells which document a chunk is of.
        """
        found = self.query(text, limit=limit * group_size, query_filter=query_filter, tenant=tenant, options=options)
        return {**found, "group_by": group_by, "limit": limit, "group_size": group_size}

    def _filter(self, given: models.Filter | None, tenant: str | None) -> models.Filter | None:
        if self.tenant is None and tenant is None:
            return given
        if self.tenant is None:
            raise ValueError(f"tenant is {tenant!r}, but the plan has none: TwoStageSearch(tenant=...) names their payload field")
        if tenant is None:
            raise ValueError(f"whose points? The collection has tenants in {self.tenant!r}, so pass tenant=...")
        own = models.FieldCondition(key=self.tenant, match=models.MatchValue(value=tenant))
        return models.Filter(must=[own] if given is None else [own, given])
