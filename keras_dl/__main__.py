"""`python -m keras_dl`: the table of architectures (name, file, paper, parameters)."""

import os

from keras_dl.registry import list_models, model_info


def table() -> str:
    """One row per architecture, in Markdown."""
    rows = [("name", "file", "paper", "parameters"), ("---", "---", "---", "--:")]
    for name in list_models():
        info = model_info(name)
        rows.append((f"`{name}`", info.file, info.paper, f"{info.parameters:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow comes with the first wing
    print(table())
