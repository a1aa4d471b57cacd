"""What a GraphQL query may ask for: counted on its syntax, before anything of it is validated or run.

Fragments are measured once each, however often they are spread: a query of a few lines can unfold into more fields than
any machine has time for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from livedub.library.library_errors import LibraryError, LibraryErrorCode

MAX_DEPTH = 6
"""jobs > items > preset > video > codec are five; what lies below `__schema` and `__type` is counted apart."""
MAX_INTROSPECTION_DEPTH = 16
"""What GraphiQL and code generators ask for is 13 deep."""
MAX_FIELDS = 500
"""Once every fragment is unfolded."""
MAX_TOKENS = 2_000

_INTROSPECTION = ("__schema", "__type")


@dataclass(frozen=True, slots=True)
class _Extent:
    """How far a part of a query goes.

    Attributes:
        depth: fields on its longest path, introspection aside.
        introspection: the same, of introspection.
        fields: how many it unfolds into.
    """

    depth: int = 0
    introspection: int = 0
    fields: int = 0


def check_query(query: str, operation_name: str | None = None) -> None:
    """Return where the query may be looked at more closely.

    Raises:
        LibraryError: INVALID_REQUEST (its syntax, or it has no such operation), QUERY_TOO_LARGE or QUERY_TOO_DEEP.
    """
    document = _parsed(query)
    _check_operation(document, operation_name)
    for extent in _extents(document):
        if extent.fields > MAX_FIELDS:
            raise LibraryError(
                LibraryErrorCode.QUERY_TOO_LARGE,
                f"The query unfolds into more than {MAX_FIELDS} fields.",
                "Ask in several queries.",
            )
        if extent.depth > MAX_DEPTH or extent.introspection > MAX_INTROSPECTION_DEPTH:
            raise _too_deep()


def _parsed(query: str) -> DocumentNode:
    try:
        return parse(query, no_location=True, max_tokens=MAX_TOKENS)
    except GraphQLSyntaxError as error:
        raise _unreadable(error.message) from None


def _check_operation(document: DocumentNode, name: str | None) -> None:
    names = [
        node.name.value if node.name else None
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    ]
    if name in names or (name is None and len(names) == 1):
        return
    if name is None and names:
        problem, remedy = (
            f"The query has {len(names)} operations.",
            "Send operationName, or a query of its own.",
        )
    else:
        problem, remedy = (
            "The query has no such operation.",
            "Send a query or mutation, with its own name or none.",
        )
    raise LibraryError(LibraryErrorCode.INVALID_REQUEST, problem, remedy)


def _unreadable(reason: str) -> LibraryError:
    if reason.endswith("nested too deeply. Parsing aborted."):
        return _too_deep()
    if reason.endswith("tokens. Parsing aborted."):
        return LibraryError(
            LibraryErrorCode.QUERY_TOO_LARGE,
            f"The query has more than {MAX_TOKENS} words and signs.",
            "Ask in several queries.",
        )
    return LibraryError(LibraryErrorCode.INVALID_REQUEST, f"The query cannot be read: {reason[:300]}")


def _too_deep() -> LibraryError:
    return LibraryError(
        LibraryErrorCode.QUERY_TOO_DEEP,
        f"The query is more than {MAX_DEPTH} fields deep.",
        "Ask for the inner parts in queries of their own.",
    )


def _extents(document: DocumentNode) -> Iterable[_Extent]:
    fragments = {
        node.name.value: node.selection_set
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    measure = _Measure(fragments)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            yield measure.of(node.selection_set)


class _Measure:
    """Measures the parts of one document."""

    def __init__(self, fragments: dict[str, SelectionSetNode]) -> None:
        self._fragments = fragments
        # A fragment that spreads itself finds this; validation refuses such a query afterwards.
        self._known: dict[str, _Extent] = {}

    def of(self, selections: SelectionSetNode) -> _Extent:
        """The extent of what lies between a pair of braces."""
        parts = [self._one(selection) for selection in selections.selections]
        return _Extent(
            depth=max((part.depth for part in parts), default=0),
            introspection=max((part.introspection for part in parts), default=0),
            fields=min(sum(part.fields for part in parts), MAX_FIELDS + 1),
        )

    def _one(self, node: object) -> _Extent:
        if isinstance(node, FieldNode):
            return self._field(node)
        if isinstance(node, InlineFragmentNode):
            return self.of(node.selection_set)
        if isinstance(node, FragmentSpreadNode):
            return self._fragment(node.name.value)
        return _Extent()

    def _field(self, node: FieldNode) -> _Extent:
        inner = self.of(node.selection_set) if node.selection_set else _Extent()
        deepest = 1 + max(inner.depth, inner.introspection)
        if node.name.value in _INTROSPECTION:
            return _Extent(introspection=deepest, fields=1 + inner.fields)
        return _Extent(depth=deepest, fields=1 + inner.fields)

    def _fragment(self, name: str) -> _Extent:
        if name not in self._known:
            self._known[name] = _Extent()
            if name in self._fragments:
                self._known[name] = self.of(self._fragments[name])
        return self._known[name]
