"""`python -m apps`: the applications, a line each."""

import ast
from pathlib import Path


def main() -> None:
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
            print(f"python -m apps.{path.stem:<22} {summary}")


if __name__ == "__main__":
    main()
