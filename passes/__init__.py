"""The passes that come with ocompress, as a plugin like any other: only public interfaces."""

PASSES = {
    "canonicalize": "passes.canonical.canonicalize:Canonicalize",
    "remove-dead-code": "passes.canonical.remove_dead_code:RemoveDeadCode",
    "inline-functions": "passes.canonical.inline_functions:InlineFunctions",
    "freeze-initializers": "passes.canonical.freeze_initializers:FreezeInitializers",
    "lift-constants": "passes.canonical.lift_constants:LiftConstants",
    "infer-shapes": "passes.canonical.infer_shapes:InferShapes",
    "upgrade-opset": "passes.canonical.upgrade_opset:UpgradeOpset",
}
