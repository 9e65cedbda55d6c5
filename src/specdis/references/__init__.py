"""Stars of known distance and rival catalogues (sections 2.5, 4.4 and 4.5): reading them and finding their stars."""

from specdis.references.folder import MEMBERS, RIVALS, References, Unread
from specdis.references.matching import MATCH_COLUMNS, SurveyStars
from specdis.references.members import Count, MemberList, Members, find_members, read_members, velocity_clip
from specdis.references.names import NAMES
from specdis.references.quantities import Quantities
from specdis.references.rivals import RIVAL_COLUMNS, match_rival
from specdis.references.settings import Kind, MemberFile, ReferenceFile, ReferencesSettings
from specdis.references.systems import CLUSTERS, DWARFS, SAGITTARIUS, TABLE_A1, System, find_system, read_systems
from specdis.references.tables import ReferenceTable

__all__ = [
    "CLUSTERS",
    "DWARFS",
    "MATCH_COLUMNS",
    "MEMBERS",
    "NAMES",
    "RIVALS",
    "RIVAL_COLUMNS",
    "SAGITTARIUS",
    "TABLE_A1",
    "Count",
    "Kind",
    "MemberFile",
    "MemberList",
    "Members",
    "Quantities",
    "ReferenceFile",
    "ReferenceTable",
    "References",
    "ReferencesSettings",
    "SurveyStars",
    "System",
    "Unread",
    "find_members",
    "find_system",
    "match_rival",
    "read_members",
    "read_systems",
    "velocity_clip",
]
