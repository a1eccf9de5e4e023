"""The page Drills: what has been rehearsed, what that proves, and when the next one is due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from offswitch.decide.roles import Power
from offswitch.drills.canary import Outcome
from offswitch.drills.figures import NO_SIL, Demand, LayerFigures
from offswitch.errors import OffswitchError
from offswitch.station.console.render import page
from offswitch.station.parts import parts_of
from offswitch.station.people.visitor import Visitor, may

__all__ = ["router"]

router = APIRouter(prefix="/drills")


@router.get("")
async def drills(request: Request, who: Annotated[Visitor, Depends(may(Power.READ))]) -> Response:
    """Show the figures."""
    return _shown(request, who, 200, None, None)


@router.post("")
async def canary(request: Request, who: Annotated[Visitor, Depends(may(Power.DRILL))]) -> Response:
    """Run one now, and show what came of it."""
    try:
        outcome = await parts_of(request).drilling.run(who.by, "console")
    except OffswitchError as error:
        return _shown(request, who, 409, None, error)
    return _shown(request, who, 200, outcome, None)


def _shown(
    request: Request,
    who: Visitor,
    status: int,
    outcome: Outcome | None,
    error: OffswitchError | None,
) -> Response:
    drilling = parts_of(request).drilling
    known = drilling.figures()
    return page(
        request,
        "drills.html",
        status,
        visitor=who,
        figures=known,
        layers=_told(known.layers),
        combined=_told(known.combined),
        due=drilling.due(),
        trouble=drilling.trouble,
        outcome=None if outcome is None else outcome.as_dict(),
        error=error,
        no_sil=NO_SIL,
    )


def _told(rows: Sequence[LayerFigures]) -> list[LayerFigures]:
    """Leave out the classes of demand that nobody tried, unless a layer was never tried at all."""
    tried = {row.layer for row in rows if row.n or row.voided_n}
    return [
        row
        for row in rows
        if row.n or row.voided_n or (row.layer not in tried and row.demand is Demand.RESISTING)
    ]
