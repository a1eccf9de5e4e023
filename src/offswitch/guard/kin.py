"""Classes of ours that are also a framework's, where the program has loaded that framework.

Some frameworks take only what derives from a class of theirs. We never import one, since that
would cost its seconds in every program and bind us to its versions; but who makes an adapter
has imported the framework it is for, and then the class stands in `sys.modules`. Ours comes
first among the bases, so that no method of theirs hides one of ours, and theirs is never
initialised: what it keeps in its instances, ours has as attributes of the class.
"""

from __future__ import annotations

import sys

__all__ = ["kindred"]


def kindred(cls: type, *theirs: tuple[str, str]) -> type:
    """Give `cls`, deriving also from each (module, name) of `theirs` that is loaded."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in theirs)
    bases = tuple(base for base in found if isinstance(base, type))
    if not bases or any(issubclass(cls, base) for base in bases):
        return cls
    return type(cls.__name__, (cls, *bases), {"__doc__": cls.__doc__, "__module__": cls.__module__})
