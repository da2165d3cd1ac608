"""The demo catalogue; one rule: it is imported like any other, and never over what is there.

`demo.jsonl` beside this file is an import file; its pictures are drawn by `model/pictures.py`.
"""

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable

import msgspec

from tradewind.products.actions.context import ProductsContext
from tradewind.products.actions.imports import ImportOptions, import_file
from tradewind.products.store.search import find_newest


class _Line(msgspec.Struct, frozen=True):
    product: str


def _file() -> Traversable:
    return files("tradewind.products.actions").joinpath("demo.jsonl")


async def load_demo(context: ProductsContext) -> int:
    """Adds what is missing of the demo catalogue; answers how many products it has."""
    with as_file(_file()) as path:
        report = await import_file(context, path, ImportOptions(only_new=True))
    if report.refused:
        raise RuntimeError(f"the demo catalogue is faulty: {report.refusals}")
    lines = msgspec.json.Decoder(_Line).decode_lines(_file().read_bytes())
    return len({line.product for line in lines})


async def load_demo_into_empty(context: ProductsContext) -> int:
    """The same where there is no product at all; 0 otherwise."""
    async with context.database.reading() as reading:
        newest = await find_newest(reading)
    return await load_demo(context) if newest is None else 0
