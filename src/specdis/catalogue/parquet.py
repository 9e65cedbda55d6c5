"""The catalogue as VOParquet: Parquet whose metadata hold a VOTable without data (IVOA Note Parquet in the VO, 1.0)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units

from specdis.arrays import Array, ranges
from specdis.catalogue.columns import Column, Field, columns_among
from specdis.catalogue.header import Cards, Header, Value
from specdis.storage import require_bounded, table_size

_BLOCK = 1 << 17  # rows of a row group
_VERSION, _CONTENT = b"IVOA.VOTable-Parquet.version", b"IVOA.VOTable-Parquet.content"
_NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"  # of VOTable 1.4 and 1.5 too
_DATATYPES = {"i8": "long", "i4": "int", "i2": "short", "f8": "double", "f4": "float", "f2": "float", "?": "boolean"}
_ARROW = {
    "i8": pa.int64(),
    "i4": pa.int32(),
    "i2": pa.int16(),
    "f8": pa.float64(),
    "f4": pa.float32(),
    "f2": pa.float16(),
    "?": pa.bool_(),
}
_DTYPES = {arrow: dtype for dtype, arrow in _ARROW.items()}


def write_parquet(path: Path, columns: Mapping[str, Array], cards: Cards) -> None:
    """Write the columns as VOParquet; equal columns and cards give equal bytes.

    Parameters
    ----------
    path
        The file.
    columns
        `COLUMNS`, shape (star,), and any of `OPTIONAL`, shape (star, number).
    cards
        Keyword to value and comment.
    """
    stars, described = len(columns["TARGETID"]), columns_among(columns)
    schema = pa.schema(
        [pa.field(name, _arrow_type(column, columns[name])) for name, column in described.items()],
        metadata={_VERSION: b"1.0", _CONTENT: _votable(columns, cards)},
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in ranges(stars, _BLOCK):
            arrays = [_to_arrow(column, columns[name][block]) for name, column in described.items()]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _arrow_type(column: Column, values: Array) -> pa.DataType:
    if values.ndim > 1:
        return pa.list_(_ARROW[column.dtype], values.shape[1])
    return _ARROW.get(column.dtype, pa.string())


def _to_arrow(column: Column, values: Array) -> pa.Array:
    """Return an arrow array; missing integers are null, missing floats stay NaN."""
    if values.ndim > 1:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    if values.dtype.kind == "S":
        return pa.array(values.astype("U"), type=pa.string())
    return pa.array(values, mask=None if column.null is None else values == column.null)


def _votable(columns: Mapping[str, Array], cards: Cards) -> bytes:
    """Return the VOTable that describes the columns, without its data."""
    root = ElementTree.Element("VOTABLE", version="1.4", xmlns=_NAMESPACE)
    resource = ElementTree.SubElement(root, "RESOURCE", type="results")
    table = ElementTree.SubElement(resource, "TABLE", name="SPECDIS", nrows=str(len(columns["TARGETID"])))
    for column in columns_among(columns).values():
        form, values = _datatype(column.dtype), columns[column.name]
        if values.ndim > 1:
            form |= {"arraysize": str(values.shape[1])}
        field = ElementTree.SubElement(table, "FIELD", form, name=column.name, ucd=column.ucd)
        if column.unit:
            field.set("unit", units.Unit(column.unit, format="fits").to_string("vounit"))
        ElementTree.SubElement(field, "DESCRIPTION").text = column.description
        if column.null is not None:
            ElementTree.SubElement(field, "VALUES", null=str(column.null))
    for keyword, (value, comment) in cards.items():
        kind = {str: "S*", bool: "?", int: "i8", float: "f8"}[type(value)]
        text = str(value).lower() if kind == "?" else str(value)
        parameter = ElementTree.SubElement(table, "PARAM", _datatype(kind), name=keyword, value=text)
        if comment:
            ElementTree.SubElement(parameter, "DESCRIPTION").text = comment
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _datatype(dtype: str) -> dict[str, str]:
    return {"datatype": "char", "arraysize": dtype[1:]} if dtype[0] == "S" else {"datatype": _DATATYPES[dtype]}


def read_parquet_header(path: Path) -> Header:
    """Read the header and the description of the columns; types are those of the data, not of the VOTable."""
    with pq.ParquetFile(path) as file:
        schema, stars = file.schema_arrow, file.metadata.num_rows
    require_bounded(path, table_size(path, schema.names))
    table = ElementTree.fromstring((schema.metadata or {})[_CONTENT])
    said = {field.get("name"): field for field in table.iterfind(".//{*}FIELD")}
    fields = {name: _field(schema.field(name).type, name, said.get(name)) for name in schema.names}
    return Header(stars, fields, dict(_card(parameter) for parameter in table.iterfind(".//{*}PARAM")))


def _field(arrow: pa.DataType, name: str, said: ElementTree.Element | None) -> Field:
    arrow = arrow.value_type if pa.types.is_fixed_size_list(arrow) else arrow
    if said is None:
        return Field(name, _DTYPES.get(arrow, str(arrow)), "", "", "")
    unit, values = said.get("unit", ""), said.find("{*}VALUES")
    return Field(
        name,
        f"S{said.get('arraysize')}" if pa.types.is_string(arrow) else _DTYPES.get(arrow, str(arrow)),
        units.Unit(unit, format="vounit").to_string("fits") if unit else "",
        said.get("ucd", ""),
        said.findtext("{*}DESCRIPTION", ""),
        None if values is None else int(values.get("null", "")),
    )


def _card(parameter: ElementTree.Element) -> tuple[str, Value]:
    name, text, datatype = (parameter.get(key, "") for key in ("name", "value", "datatype"))
    convert: dict[str, Callable[[str], Value]] = {"long": int, "double": float, "boolean": "true".__eq__}
    return name, convert.get(datatype, str)(text)


def read_parquet_blocks(path: Path, names: Sequence[str], rows: int) -> Iterator[dict[str, Array]]:
    """Yield columns, `rows` stars at a time or fewer; missing integers are the column's null value."""
    fields = read_parquet_header(path).fields
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):  # one by one: read together, all stay in memory
            for batch in file.iter_batches(batch_size=rows, row_groups=[group], columns=list(names)):
                yield {name: _from_arrow(fields[name], batch.column(name)) for name in names}


def _from_arrow(field: Field, values: pa.Array) -> Array:
    if pa.types.is_fixed_size_list(values.type):
        return np.asarray(values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1))
    if field.dtype[0] == "S":
        words = values.dictionary_encode()  # few distinct values: converting every row would take seconds
        return np.asarray(words.dictionary.to_numpy(zero_copy_only=False).astype(field.dtype)[words.indices])
    return np.asarray((values if field.null is None else values.fill_null(field.null)).to_numpy(zero_copy_only=False))
