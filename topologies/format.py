"""The file format: what may stand in a topology file, and its JSON schema.

These models say which fields exist and what single values may be; rules between fields and names are
in `topologies.check`, and `topologies.files` turns a file into a `Topology`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from topologies.check import MAX_MTU_BYTES, MIN_MTU_BYTES, NAME, NAME_LENGTH, TOPOLOGY_NAME
from topologies.spec import ControlPlane, Link, OriginMode, RouterAddressing, Service

_NAME_SCHEMA = {"pattern": f"^{NAME.pattern}$", "maxLength": NAME_LENGTH}
Name = Annotated[StrictStr, Field(json_schema_extra=dict(_NAME_SCHEMA))]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_SERVICE = Service()
_CONTROL = ControlPlane()
_LINK_DEFAULTS = {name: field.default for name, field in Link.__dataclass_fields__.items()}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _written(value: Any) -> Any:
    # None is how the models say "not written"; a field written without a value is a mistake.
    if value is None:
        raise PydanticCustomError("no_value", "no value")
    return value


class LinkValues(_Model):
    """What a link is like; each value holds for each direction."""

    delay_ms: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="One-way propagation delay in milliseconds; fibre takes 0.005 per km."
    )
    rate_mbps: Annotated[Number, Field(gt=0)] | None = Field(default=None, description="Rate in Mbit/s.")
    loss_percent: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        default=None,
        description=f"Independent loss of each packet; {_LINK_DEFAULTS['loss_percent']:g} when nothing says.",
    )
    mtu_bytes: Annotated[StrictInt, Field(ge=MIN_MTU_BYTES, le=MAX_MTU_BYTES)] | None = Field(
        default=None,
        description="Largest IPv6 packet (RFC 8200 section 5); "
        f"{_LINK_DEFAULTS['mtu_bytes']} when nothing says.",
    )
    queue_packets: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None,
        description="Packets that may wait for transmission; "
        f"{_LINK_DEFAULTS['queue_packets']} when nothing says.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        return _written(value)


LINK_FIELDS = tuple(LinkValues.model_fields)


class LinkEntry(LinkValues):
    """One link: `[a, b]`, or `{ends: [a, b], delay_ms: 1.5}` where it differs from its layer."""

    ends: tuple[Name, ...] = Field(min_length=2, max_length=2, description="The two nodes it joins.")

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return {"ends": value} if isinstance(value, list) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler.resolve_ref_schema(handler(schema))
        description = described.pop("description", "")
        pair = {key: value for key, value in described["properties"]["ends"].items() if key != "title"}
        return {"description": description, "anyOf": [pair, described]}


class ServiceEntry(_Model):
    """The service users ask for."""

    name: StrictStr = Field(default=_SERVICE.name, description="DNS name; one AAAA record.")
    address: StrictStr = Field(default=_SERVICE.address, description="Anycast address in 2001:db8:ffff::/48.")


class ControlEntry(_Model):
    """Where the controller is, as seen from the switches."""

    delay_ms: Annotated[Number, Field(ge=0)] = Field(
        default=_CONTROL.delay_ms,
        description="Added to every control link, one way, in milliseconds; "
        f"{_CONTROL.delay_ms:g} when nothing says.",
    )
    at: Name | None = Field(
        default=None,
        description="The switch where the controller stands: every other switch is as far from it as its "
        "shortest path; when nothing says, all switches are next to it.",
    )

    @field_validator("at", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        return _written(value)


def _kind(key: str, what: str) -> Any:
    return Field(LinkValues(), alias=key, description=f"Links {what}.")


class Layers(_Model):
    """What links of one kind have in common; a single link may say otherwise."""

    core_core: LinkValues = _kind("core-core", "between core switches")
    core_distribution: LinkValues = _kind("core-distribution", "between core and distribution switches")
    core_access: LinkValues = _kind("core-access", "between core and access switches")
    distribution_distribution: LinkValues = _kind(
        "distribution-distribution", "between distribution switches"
    )
    distribution_access: LinkValues = _kind("distribution-access", "between distribution and access switches")
    access_access: LinkValues = _kind("access-access", "between access switches")
    edge: LinkValues = _kind("edge", "that attach edge clouds")
    origin: LinkValues = _kind("origin", "that attach the origin")
    user: LinkValues = _kind("user", "that attach users")
    dns: LinkValues = _kind("dns", "that attach the DNS server")

    def of(self, key: str) -> LinkValues:
        """The values of one kind of link, by its key (`layers.LAYER_KEYS`)."""
        values: LinkValues = getattr(self, key.replace("-", "_"))
        return values


class Nodes(_Model):
    """The nodes by role. The order numbers them: the i-th access switch owns 2001:db8:i::/64."""

    core: tuple[Name, ...] = Field(default=(), description="Core switches.")
    distribution: tuple[Name, ...] = Field(default=(), description="Distribution switches.")
    access: tuple[Name, ...] = Field(default=(), description="Access switches.")
    edge: tuple[Name, ...] = Field(default=(), description="Edge clouds, each on an access switch.")
    origin: tuple[Name, ...] = Field(default=(), description="The enterprise cloud; exactly one.")
    user: tuple[Name, ...] = Field(default=(), description="Users, each on an access switch.")
    dns: tuple[Name, ...] = Field(default=(), description="The DNS server; exactly one.")


class TopologyFile(_Model):
    """A nearcast topology."""

    name: StrictStr = Field(
        description="Name of the topology in results.",
        json_schema_extra={"pattern": f"^{TOPOLOGY_NAME.pattern}$"},
    )
    description: StrictStr = Field(default="", description="One line for people.")
    service: ServiceEntry = ServiceEntry()
    origin: OriginMode = Field(
        default=OriginMode.HIDDEN,
        description="Whether the origin may ever answer users: never, or when no edge can.",
    )
    routers: RouterAddressing = Field(
        default=RouterAddressing.LINK_LOCAL,
        description="The addresses of routers: link-local only (RFC 7404), or a global one each.",
    )
    control: ControlEntry = ControlEntry()
    layers: Layers = Layers()
    nodes: Nodes
    links: tuple[LinkEntry, ...]


class _JsonSchema(GenerateJsonSchema):
    """Says nothing of null, which no field accepts, nor of defaults that are whole mappings."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        described = super().default_schema(schema)
        if not isinstance(described.get("default"), str):
            described.pop("default", None)
        return described


def json_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of topology files, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TopologyFile.model_json_schema(schema_generator=_JsonSchema),
    }
