"""A contract for import-linter: what a folder of the package does not export is imported by nobody outside it."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class PrivateInsides(Contract):
    """Modules of a folder may be imported within it only; others import the folder.

    Options:
        open_modules: those that are imported by their names, since their folder does not load them or is not loaded
            with them.
    """

    type_name = "private_insides"

    open_modules = fields.SetField(subfield=fields.StringField(), required=False, default=set())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001 - import-linter's own
        """Find the imports that pass a folder's door by."""
        [root] = self.session_options["root_packages"]
        opened: set[str] = set(self.open_modules or ())  # type: ignore[call-overload]  # fields become values
        passing = [
            (importer, module)
            for folder in graph.find_children(root)
            for module in graph.find_descendants(folder) - opened
            for importer in graph.find_modules_that_directly_import(module)
            if importer != folder and not importer.startswith(f"{folder}.")
        ]
        unknown = sorted(opened - graph.modules)
        return ContractCheck(kept=not passing and not unknown, metadata={"passing": passing, "unknown": unknown})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say which imports these are."""
        for importer, module in sorted(check.metadata["passing"]):
            output.print_error(f"{importer} imports {module}: expected the folder to export what others use")
        for module in check.metadata["unknown"]:
            output.print_error(f"open_modules: expected a module, got {module}, which there is not")
