"""Tables of figures, and aims beside them, for the programs of this folder that measure."""
import json


def say(text=""):
    print(text, flush=True)


def table(title, heads, rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    say(f"\n{title}")
    for row in [heads, *rows]:
        say("  " + "  ".join(cell.rjust(width) if i else cell.ljust(width)
                             for i, (cell, width) in enumerate(zip(row, widths))))


def aim(name, value, limit, at_least=False):
    met = value >= limit if at_least else value <= limit
    return {"name": name, "value": round(value, 3), "aim": limit, "kind": "at least" if at_least else "at most",
            "met": met}


def finish(results, aims, path):
    """Shows which aims are met, and writes all figures as JSON."""
    table("Aims", ["", "measured", "aim", ""],
          [[a["name"], f"{a['value']:.2f}", f"{a['kind']} {a['aim']}", "met" if a["met"] else "MISSED"] for a in aims])
    results["aims"] = aims
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    say(f"\nall figures: {path}")
