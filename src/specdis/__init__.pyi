from specdis.catalogue import read_catalogue as read_catalogue
from specdis.flags import Flag as Flag
from specdis.model.files import load_model as load_model
from specdis.prior.stars import posterior as posterior

__version__: str
