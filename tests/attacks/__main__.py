"""Try all attacks: `python -m tests.attacks`, see `main`."""
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parents[1]))
import warnings
warnings.simplefilter("ignore")
import tempfile
from attacks.process import tried
import importlib
rows = {}
for m in sys.argv[1].split(","):
    mod = importlib.import_module("attacks." + m)
    rows |= mod.ROWS | getattr(mod, "MORE", {})
    if m == "runs": rows |= mod.rows(Path("/tmp/h2/attacks/f/run"))
pick = sys.argv[2:]
with tempfile.TemporaryDirectory() as place:
    for r in tried({k: v for k, v in rows.items() if not pick or any(p in k for p in pick)}, Path(place), 1):
        print(str(r) if r.held else f"FAILED {r.name} {r.seconds:.1f} {r.gigabytes:.1f}\n{r.said}", flush=True)
