"""What a request wants, in the words of distribution's token specification."""

from dataclasses import dataclass

from roadstead.server.endpoints import Base, CatalogEndpoint, Endpoint


@dataclass(frozen=True, slots=True)
class Access:
    """One action on one resource: ``repository:library/app:pull``."""

    kind: str
    name: str
    action: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{self.action}"

    def detail(self) -> dict[str, str]:
        """Write it as the body of a 401 has it (registry 2.8)."""
        return {"Type": self.kind, "Class": "", "Name": self.name, "Action": self.action}


def wanted_access(method: str, endpoint: Endpoint, name: str) -> tuple[Access, ...]:
    """Say what a request needs, as distribution does; ``name`` is the repository's.

    ``/v2/`` needs nothing but a caller that proves who it is.
    """
    match endpoint:
        case Base():
            return ()
        case CatalogEndpoint():
            return (Access("registry", "catalog", "*"),)
    match method:
        case "POST" | "PUT" | "PATCH":
            actions: tuple[str, ...] = ("pull", "push")
        case "DELETE":
            actions = ("delete",)
        case _:
            actions = ("pull",)
    return tuple(Access("repository", name, action) for action in actions)


def scope_of(wanted: tuple[Access, ...]) -> str:
    """Write the scope of a challenge: actions on one resource stand together."""
    actions: dict[tuple[str, str], list[str]] = {}
    for access in wanted:
        actions.setdefault((access.kind, access.name), []).append(access.action)
    return " ".join(f"{kind}:{name}:{','.join(each)}" for (kind, name), each in actions.items())
