"""What names stand for beside their parameters: sources of plugins, and versions of what ships where these were raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.core.errors import BadOption
from harness.core.registry import Registry
from harness.core.sources import Source
from harness.core.spec import Spec, parse


@dataclass(frozen=True)
class Code:
    """The code that a number, or a file, rests on, as far as it may change under the same name.

    Attributes:
        sources: of plugins, by kind and name, `loss my-loss`.
        versions: of what ships, by kind and name, where they are above 1.
    """

    sources: Mapping[str, Source] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, *named: tuple[Registry[object], Spec]) -> Code:
        """Return the code of names, and of those that their parameters hold: `refined(native="my-loss")`.

        Raises: UnknownName.
        """
        sources: dict[str, Source] = {}
        versions: dict[str, int] = {}
        for registry, name in _all(named):
            source, version, key = registry.source(name), registry.version(name), f"{registry.kind} {name}"
            if source is not None:
                sources[key] = source
            if version > 1:
                versions[key] = version
        return cls(dict(sorted(sources.items())), dict(sorted(versions.items())))

    @classmethod
    def within(cls, options: object, registries: Sequence[Registry[object]]) -> Code:
        """Return the code of every name of these registries that stands anywhere in a scenario's options."""
        names = dict.fromkeys(_words(options))
        return cls.of(*((registry, Spec(name=name)) for name in names for registry in registries if name in registry))

    def __or__(self, other: Code) -> Code:
        sources, versions = {**self.sources, **other.sources}, {**self.versions, **other.versions}
        return Code(dict(sorted(sources.items())), dict(sorted(versions.items())))

    @property
    def facts(self) -> dict[str, object]:
        """What a blueprint says of it: nothing of what ships in its first version."""
        digests = {key: source.digest for key, source in self.sources.items()}
        return ({"plugins": digests} if digests else {}) | ({"versions": dict(self.versions)} if self.versions else {})


def _all(named: tuple[tuple[Registry[object], Spec], ...]) -> Iterator[tuple[Registry[object], str]]:
    for registry, spec in named:
        yield registry, spec.name
        for value in spec.options.values():
            name = _name(value)
            if name and name in registry:
                yield registry, name


def _words(options: object) -> Iterator[str]:
    if isinstance(options, Mapping):
        options = list(options.values())
    if isinstance(options, (list, tuple)):
        for value in options:
            yield from _words(value)
    elif name := _name(options):
        yield name


def _name(value: object) -> str:
    """Return the name that a parameter's value may be, "" where it can be none."""
    try:
        return parse(value)[0] if isinstance(value, str) else ""
    except BadOption:
        return ""
