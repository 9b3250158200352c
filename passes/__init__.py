"""The passes that come with ocompress, as a plugin like any other: only public interfaces."""

PASSES = {
    "canonicalize": "passes.canonical.canonicalize:Canonicalize",
    "remove-dead-code": "passes.canonical.remove_dead_code:RemoveDeadCode",
    "inline-functions": "passes.canonical.inline_functions:InlineFunctions",
    "freeze-initializers": "passes.canonical.freeze_initializers:FreezeInitializers",
    "lift-constants": "passes.canonical.lift_constants:LiftConstants",
    "infer-shapes": "passes.canonical.infer_shapes:InferShapes",
    "upgrade-opset": "passes.canonical.upgrade_opset:UpgradeOpset",
    "fold-batch-norm": "passes.canonical.fold_batch_norm:FoldBatchNorm",
    "fold-affine": "passes.canonical.fold_affine:FoldAffine",
    "fold-pad": "passes.canonical.fold_pad:FoldPad",
    "merge-matmul-add": "passes.canonical.merge_matmul_add:MergeMatMulAdd",
    "fold-constants": "passes.canonical.fold_constants:FoldConstants",
    "fold-shapes": "passes.canonical.fold_shapes:FoldShapes",
    "inline-branches": "passes.canonical.inline_branches:InlineBranches",
    "remove-identity": "passes.canonical.remove_identity:RemoveIdentity",
    "merge-layout-ops": "passes.canonical.merge_layout_ops:MergeLayoutOps",
    "share-initializers": "passes.canonical.share_initializers:ShareInitializers",
    "share-subexpressions": "passes.canonical.share_subexpressions:ShareSubexpressions",
    "scalarize-range": "passes.canonical.scalarize_range:ScalarizeRange",
}
