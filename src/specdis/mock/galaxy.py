"""The galaxy: discs and halo, footprint and magnitude limits of the programmes, and the stars within them.

Every star is drawn from the stars that its programme sees along its line of sight: component and distance from density
times volume times the share of the component's stars inside the magnitude limits, then one star of that share. No draw
is rejected, so that a star depends on its own random numbers alone.
"""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array, Float64, Int64
from specdis.mock import binaries, systems
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.mock.sky import (
    KM_S,
    NSIDE,
    PROGRAMMES,
    SUN,
    SUN_VELOCITY,
    Programme,
    directions,
    dust_in_front,
    footprint,
    pixels_of,
    sky_of,
    system_pixels,
    true_reddening,
)
from specdis.mock.stars import Population
from specdis.mock.structure import BHB, COMPONENTS, FIRST_SYSTEM, HALO, RRL, SGR, density, populations
from specdis.references import TABLE_A1

DISTANCE_LIMITS = (0.05, 250.0)  # kpc
DISTANT_FROM = 10.0  # kpc
_TYPICAL_A_G = 2.3  # mag per mag of E(B-V) on the scale of SFD98, for the magnitude limits alone


def universe(settings: MockSettings) -> dict[str, Array]:
    """Draw all stars.

    Returns
    -------
    dict of ndarray, shape (star,)
        As `draw_population`.
    """
    parts = []
    for branch, (stars, pixels) in enumerate(footprint(settings).values()):
        number, place = np.divmod(np.arange(stars), len(pixels))
        parts.append((np.full(stars, branch), pixels[place], number))
    return draw_population(settings, *map(np.concatenate, zip(*parts, strict=True)))


def draw_population(settings: MockSettings, branch: Int64, pixel: Int64, number: Int64) -> dict[str, Array]:
    """Draw stars by identifier: each depends on its identifier and the settings alone.

    Parameters
    ----------
    settings
        Section `[mock]`; the number of stars has no effect.
    branch, pixel, number
        Place of the programme in `PROGRAMMES`, HEALPix pixel (nside 64, nested), and running number within both,
        each of shape (star,).

    Returns
    -------
    dict of ndarray, shape (star,)
        PROGRAM, HEALPIX, NUMBER (within the programme's pixel), SOURCE_ID; RA, DEC (deg), DIST (kpc); COMPONENT,
        PULSATING; TEFF (K), LOGG, FEH, ALPHAFE (dex), MASS (solar), AGE (Gyr), M_G (mag), PARENT (row of the library's
        star, or -1); EBV, all along the line of sight, and EBV_IN_FRONT of the star (mag, on the scale of SFD98); VRAD
        (km/s), PMRA, PMDEC (mas/yr); the columns of `binaries.with_companions`; all are true values.
    """
    members = populations(settings)
    rows = [np.flatnonzero(branch == place) for place in range(len(PROGRAMMES))]
    parts = [
        _draw(settings, programme, members, pixel[mine], number[mine])
        for programme, mine in zip(PROGRAMMES, rows, strict=True)
    ]
    order = np.argsort(np.concatenate(rows))
    stars = {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}
    return binaries.with_companions(stars, settings)


def _draw(
    settings: MockSettings, programme: Programme, members: tuple[Population, ...], pixel: Int64, number: Int64
) -> dict[str, Array]:
    """Draw the stars of one programme, without companions."""
    branch = np.full(len(pixel), PROGRAMMES.index(programme))
    draws = Draws(settings.seed, (branch, pixel, number))

    component, distance = components_and_distances(settings, programme, members, pixel, draws)
    fine, ra, dec = _positions(component, pixel, draws)
    towards, east, north = directions(ra, dec)
    ebv = true_reddening(settings.seed, pixel, towards[2])

    in_front = ebv * dust_in_front(settings.dust_height, distance, towards[2])
    modulus = 5.0 * np.log10(distance) + 10.0 + _TYPICAL_A_G * in_front
    columns = {
        "PROGRAM": np.full(len(pixel), programme.name),
        "HEALPIX": pixel,
        "NUMBER": number,
        # as Gaia's: the pixel at nside 4096 from bit 35 on, so that of nside 64 from bit 47 on; then a running number
        "SOURCE_ID": (fine << 35) | (branch << 30) | (number + 1),
        "RA": ra,
        "DEC": dec,
        "DIST": distance,
        "COMPONENT": np.array([c.name for c in COMPONENTS])[component],
        "PULSATING": component == RRL,
        "EBV": ebv,
        "EBV_IN_FRONT": in_front,
    }
    columns |= _members(programme, members, component, modulus, draws.uniform("member"))
    position = SUN[:, None] + distance * towards
    velocity = _velocity(component, position, draws)
    field = {
        "VRAD": np.sum(velocity * towards, axis=0),
        "PMRA": np.sum(velocity * east, axis=0) / (KM_S * distance),
        "PMDEC": np.sum(velocity * north, axis=0) / (KM_S * distance),
    }
    bound = _motion_of_systems(component, ra, dec, distance, draws)
    return columns | {name: np.where(component < SGR, field[name], bound[name]) for name in field}


def _positions(component: Int64, pixel: Int64, draws: Draws) -> tuple[Int64, Float64, Float64]:
    """Draw positions: HEALPix pixel at nside 4096, RA and Dec (deg), each of shape (star,).

    Stars of the field are spread evenly over their pixel. Members follow a Plummer (1911) profile; for those
    outside the pixel the distance from the centre is halved until they are inside.
    """
    fine = (pixel << 12) | (4096 * draws.uniform("position")).astype(np.int64)
    ra, dec = sky_of(fine, 64 * NSIDE, draws.uniform("position x"), draws.uniform("position y"))
    mine = np.flatnonzero(component >= FIRST_SYSTEM)
    centre = np.array([(system.ra, system.dec, system.radius / 60.0) for system in TABLE_A1])
    ra_0, dec_0, radius = centre[component[mine] - FIRST_SYSTEM].T
    share, angle = draws.uniform("radius")[mine], 2.0 * np.pi * draws.uniform("angle")[mine]
    radius = radius * np.sqrt(share / (1.0 - share))  # on the sky: half the stars within the radius
    inside = np.zeros(len(mine), bool)
    for _ in range(12):
        away = np.where(inside, 0.0, radius)
        here = ra_0 + away * np.cos(angle) / np.cos(np.radians(dec_0)), dec_0 + away * np.sin(angle)
        found = ~inside & (pixels_of(*here, NSIDE) == pixel[mine])
        ra[mine[found]], dec[mine[found]] = here[0][found], here[1][found]
        inside, radius = inside | found, radius / 2.0
    fine[mine] = pixels_of(ra[mine], dec[mine], 64 * NSIDE)
    return fine, ra, dec


def _motion_of_systems(
    component: Int64, ra: Float64, dec: Float64, distance: Float64, draws: Draws
) -> dict[str, Float64]:
    """Draw VRAD (km/s), PMRA and PMDEC (mas/yr) of members of the systems and of the stream."""
    lam, _ = systems.stream_coordinates(ra, dec)
    track, *along = systems.stream_track(lam)
    known = np.array([(system.vrad, system.pmra, system.pmdec, system.dispersion) for system in TABLE_A1])
    of_systems = known[np.maximum(component - FIRST_SYSTEM, 0)].T
    dispersion = np.full(len(lam), systems.STREAM_DISPERSION)
    of_stream = np.stack([stream_velocity(lam), *(motion * track / distance for motion in along), dispersion])
    mean_vrad, mean_pmra, mean_pmdec, dispersion = np.where(component == SGR, of_stream, of_systems)
    return {
        "VRAD": mean_vrad + dispersion * draws.normal("member velocity"),
        "PMRA": mean_pmra + dispersion * draws.normal("member motion east") / (KM_S * distance),
        "PMDEC": mean_pmdec + dispersion * draws.normal("member motion north") / (KM_S * distance),
    }


def stream_velocity(lam: Float64) -> Float64:
    """Return the heliocentric radial velocity (km/s) of the Sagittarius stream at Lambda (deg), shape (star,).

    Stars move along the track, with the speed that gives its proper motions.
    """
    node, kpc, pmra, pmdec = systems.TRACK.T
    towards, east, north = directions(*systems.stream_place(node))
    position = SUN[:, None] + kpc * towards
    along = np.gradient(position, node, axis=1)
    along /= np.linalg.norm(along, axis=0)
    moving = [KM_S * kpc * motion + SUN_VELOCITY @ axis for motion, axis in ((pmra, east), (pmdec, north))]
    share = [np.sum(along * axis, axis=0) for axis in (east, north)]
    speed = (moving[0] * share[0] + moving[1] * share[1]) / (share[0] ** 2 + share[1] ** 2)
    return np.asarray(np.interp(lam, node, speed * np.sum(along * towards, axis=0) - SUN_VELOCITY @ towards))


def components_and_distances(
    settings: MockSettings,
    programme: Programme,
    members: tuple[Population, ...],
    pixel: Int64,
    draws: Draws,
) -> tuple[Int64, Float64]:
    """Draw component and distance (kpc) of stars in the given pixels."""
    pixels, place = np.unique(pixel, return_inverse=True)
    edges = np.geomspace(*DISTANCE_LIMITS, 169)
    middle = np.sqrt(edges[1:] * edges[:-1])
    ra, dec = sky_of(pixels, NSIDE)
    towards = directions(ra, dec)[0]
    position = SUN[:, None, None] + towards[:, :, None] * middle
    in_front = dust_in_front(settings.dust_height, middle, towards[2][:, None])
    dust = _TYPICAL_A_G * true_reddening(settings.seed, pixels, towards[2])[:, None] * in_front
    seen = [_seen(programme, population_, 5.0 * np.log10(middle) + 10.0 + dust) for population_ in members]

    thin, thick, halo = density(settings, np.hypot(position[0], position[1]), position[2]) * middle**3
    distant = np.broadcast_to(middle > DISTANT_FROM, halo.shape)
    stream = systems.stream_density(ra, dec, middle)
    on_stream = settings.stream_fraction * stream.max(axis=1)
    horizontal = max(settings.bhb_fraction, programme.bhb_fraction)
    fractions = settings.halo_fraction, settings.distant_fraction, horizontal, settings.rrlyrae_fraction
    discs = np.concatenate([thin * seen[0], thick * seen[1]], axis=1)
    strata = (
        (max(1.0 - sum(fractions), 0.0) * (1.0 - on_stream), discs),
        (fractions[0] * (1.0 - on_stream), halo * seen[HALO]),
        (fractions[1] * (1.0 - on_stream), distant * (seen[HALO] > 0)),
        (fractions[2] * (1.0 - on_stream), distant * (seen[BHB] > 0)),
        (fractions[3] * (1.0 - on_stream), distant * (seen[RRL] > 0)),
        (on_stream, stream * middle * seen[SGR]),  # per kpc, times the width of the bin
    )
    table = np.concatenate(
        [share[:, None] * part / np.maximum(part.sum(axis=1, keepdims=True), 1e-300) for share, part in strata], axis=1
    )
    # whole numbers, so that a draw does not depend on the rounding of a star's position among the pixels
    cumulative = _whole(np.cumsum(table, axis=1) / np.maximum(table.sum(axis=1, keepdims=True), 1e-300))
    flat = ((np.arange(len(pixels)) << _SHARE_BITS)[:, None] + cumulative).ravel()
    drawn = (place << _SHARE_BITS) + _whole(draws.uniform("component"))
    cell = np.searchsorted(flat, drawn, side="right") - place * table.shape[1]
    stratum, step = np.divmod(np.minimum(cell, table.shape[1] - 1), len(middle))
    distance = edges[step] * (edges[step + 1] / edges[step]) ** draws.uniform("distance")
    return _with_members(settings, programme, members, pixel, (_COMPONENT_OF[stratum], distance), draws)


_SHARE_BITS = 40


def _whole(share: Float64) -> Int64:
    """Return shares between 0 and 1 as whole numbers of `_SHARE_BITS` bits."""
    return np.asarray(share * 2.0**_SHARE_BITS, np.int64)


# of the strata: thin disc, thick disc, halo, its distant giants, horizontal branch, RR Lyrae stars, stream
_COMPONENT_OF = np.array([0, 1, HALO, HALO, BHB, RRL, SGR])


def _seen(programme: Programme, population_: Population, modulus: Float64) -> Float64:
    """Return the share of a population that a programme sees at distance moduli that include extinction."""
    return population_.brighter(programme.faint - modulus) - population_.brighter(programme.bright - modulus)


def _with_members(
    settings: MockSettings,
    programme: Programme,
    members: tuple[Population, ...],
    pixel: Int64,
    stars: tuple[Int64, Float64],
    draws: Draws,
) -> tuple[Int64, Float64]:
    """Turn some stars, components and distances, into members in pixels whose system the programme sees."""
    component, distance = stars
    kpc = np.array([system.distance for system in TABLE_A1])
    modulus = 5.0 * np.log10(kpc) + 10.0 + _TYPICAL_A_G * 0.05
    visible = [_seen(programme, *known) > 1e-6 for known in zip(members[FIRST_SYSTEM:], modulus, strict=True)]
    order = np.argsort(system_pixels())
    place = np.searchsorted(system_pixels(), pixel, sorter=order)
    system = order[np.minimum(place, len(order) - 1)]
    mine = (system_pixels()[system] == pixel) & np.array(visible)[system]
    mine &= draws.uniform("system") < settings.member_fraction
    near = kpc[system] * (1.0 + systems.DEPTH * draws.normal("depth"))
    return np.where(mine, FIRST_SYSTEM + system, component), np.where(mine, near, distance)


def _members(
    programme: Programme, members: tuple[Population, ...], component: Int64, modulus: Float64, rank: Float64
) -> dict[str, Array]:
    """Draw a star within the magnitude limits from the population of each component."""
    columns = {name: np.empty(len(component), values.dtype) for name, values in members[0].columns.items()}
    for number, population_ in enumerate(members):
        mine = component == number
        bright = population_.brighter(programme.bright - modulus[mine])
        faint = population_.brighter(programme.faint - modulus[mine])
        point = population_.draw(bright + rank[mine] * (faint - bright))
        for name, values in population_.columns.items():
            columns[name][mine] = values[point]
    return columns


def _velocity(component: Int64, position: Float64, draws: Draws) -> Float64:
    """Draw velocities relative to the Sun in Galactic Cartesian km/s, shape (3, star); NaN of members of systems."""
    radius = np.hypot(position[0], position[1])
    outwards = np.stack([position[0], position[1]]) / radius
    scatter = np.array([c.dispersion for c in COMPONENTS])[component]
    radial = scatter[:, 0] * draws.normal("radial velocity")
    azimuthal = np.array([c.rotation for c in COMPONENTS])[component] + scatter[:, 1] * draws.normal("rotation")
    vertical = scatter[:, 2] * draws.normal("vertical velocity")
    across = np.stack([outwards[1], -outwards[0]])
    return np.asarray(np.stack([*(radial * outwards + azimuthal * across), vertical]) - SUN_VELOCITY[:, None])
