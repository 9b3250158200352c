"""The passes that come with ocompress, as a plugin like any other: only public interfaces."""

PASSES = {
    "canonicalize": "passes.canonical.canonicalize:Canonicalize",
    "remove-dead-code": "passes.canonical.remove_dead_code:RemoveDeadCode",
}
