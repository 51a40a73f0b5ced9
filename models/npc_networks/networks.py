"""The demo networks: what each takes, what it answers, and how it is built and trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation
from npc_networks.unet import Triple, UNetPlan, isotropic_plan
from npc_phantom.han import STRUCTURES

CROP_ABOVE_HU = -400.0
CROP_MARGIN_MM = 10.0
WINDOW_STEP = 0.5

NON_CONTRAST = "non-contrast CT"
CONTRAST = "contrast CT"
EITHER_PHASE = "non-contrast or contrast CT"
T1, T2, T1C = "T1 MR", "T2 MR", "T1 MR with contrast agent"

KIND_CHANNELS = {
    "npc": (NON_CONTRAST, CONTRAST),
    "han": (NON_CONTRAST, CONTRAST),
    "chest": (CONTRAST,),
    "mr": (T1, T2, T1C),
}
"""What a scan of each kind of phantom holds, in order: the head and neck, the same down to the bronchi, chest, MR."""


def _both_sides(*names: str) -> tuple[str, ...]:
    return tuple(name.replace("*", side) for name in names for side in "LR")


OAR_LABELS = (
    "background",
    "Brain",
    "Brainstem",
    "OpticChiasm",
    *_both_sides("Lobe_Temporal_*", "Hippocampus_* in Lobe_Temporal_*", "Hippocampus_*"),
    *_both_sides("Eye_*", "Lens_* in Eye_*", "OpticNrv_*"),
    *_both_sides("Ear_Middle_*", "IAC_* in Ear_Middle_*", "Tympanic_* in Ear_Middle_*", "Tympanic_*"),
    *_both_sides("VestibulSemi_* in Ear_Middle_*", "VestibulSemi_*", "Cochlea_* in Ear_Middle_*"),
    *_both_sides("ETbone_* in Ear_Middle_*", "ETbone_*"),
    "Pituitary",
    "Cavity_Oral",
    *_both_sides("Bone_Mandible_*", "Glnd_Submand_*", "Parotid_*", "Bone_Mastoid_*", "Joint_TM_*"),
    "SpinalCord",
    "Esophagus",
    "Larynx",
    "Glottis in Larynx",
    "Larynx_SG in Larynx",
    "Musc_Constrict in Larynx",
    "Musc_Constrict",
    "Glnd_Thyroid",
    "Trachea",
)
"""The 54 exclusive labels that unite into the 45 overlapping organs at risk; index = label value."""

GTV_LABELS = ("background", "GTVp", "GTVn")

HAN_LABELS = ("background", *STRUCTURES)
"""The fifty structures of HaN5K's list as exclusive labels, in the list's order; index = label value."""

LN_LABELS = (
    "background",
    "CTVn_II_III_Va_R",
    "CTVn_II_III_Va_L",
    "CTVn_IV_Vb_R",
    "CTVn_IV_Vb_L",
    "CTVn_Ib_R",
    "CTVn_Ib_L",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """One demo network.

    Attributes:
        target: which label map of a phantom it learns, see `phantom_data.TARGETS`.
        kind: of the phantoms it learns from, see `KIND_CHANNELS`.
        cropped: whether it looks at the box of the body only (on CT), as its contract then says.
        channels: what each input channel is. A single channel of EITHER_PHASE is drawn from both.
        normalisation: one per channel.
        labels: index = label value, 0 = "background".
        patch_zyx: voxels of one window at `spacing_zyx_mm`.
        class_balance: how much small classes are favoured in the cross entropy, see `losses.cross_entropy_dice`; in
            the second half of the training it fades to 0, so that borders end where they are.
        centred_share: share of training patches centred near a voxel of a class drawn evenly; the rest lie anywhere.
            Less where most of a scan is background that looks like the target.
        centred_on_parts: centre on connected parts of the classes, drawn evenly, so that a small node is seen as often
            as a large one.
        max_label_cc: an answer with a larger label is refused; generous, for any patient.
        label_cc: of labels that may be larger.
        version: raised whenever the weights or the contract change their meaning.
    """

    name: str
    version: str
    title: str
    target: str
    channels: tuple[str, ...]
    normalisation: tuple[Normalisation, ...]
    labels: tuple[str, ...]
    spacing_zyx_mm: Vec3
    patch_zyx: Triple
    features: tuple[int, ...]
    learning_rate: float = 1.5e-3
    class_balance: float = 0.0
    centred_share: float = 0.8
    centred_on_parts: bool = False
    kind: str = "npc"
    cropped: bool = True
    max_label_cc: float = 1000.0
    label_cc: Mapping[str, float] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """Which channels of a scan it can be given: more than one choice where it takes either phase."""
        of_scan = KIND_CHANNELS[self.kind]
        if self.channels == (EITHER_PHASE,):
            return tuple((k,) for k in range(len(of_scan)))
        return (tuple(of_scan.index(channel) for channel in self.channels),)

    @property
    def plan(self) -> UNetPlan:
        """The U-Net behind it."""
        return isotropic_plan(len(self.channels), len(self.labels), self.features)


_WIDE = Normalisation(clip_hu=(-600.0, 1200.0), mean_hu=40.0, std_hu=200.0)
_SOFT_TISSUE = Normalisation(clip_hu=(-250.0, 400.0), mean_hu=40.0, std_hu=100.0)
_OF_ITS_OWN = Normalisation(clip_hu=(0.0, 0.0), mean_hu=0.0, std_hu=1.0, scheme="zscore")

NETWORKS = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            name="npc_gtv",
            version="1.0.0",
            title="gross tumour volumes of nasopharyngeal carcinoma",
            target="gtv",
            channels=(NON_CONTRAST, CONTRAST),
            normalisation=(_SOFT_TISSUE, _SOFT_TISSUE),
            labels=GTV_LABELS,
            spacing_zyx_mm=(2.5, 2.5, 2.5),
            patch_zyx=(64, 64, 64),
            features=(16, 32, 48, 64, 64),
        ),
        NetworkSpec(
            name="ln_ctv",
            version="1.0.0",
            title="lymph node levels of the neck (clinical target volumes)",
            target="ln",
            channels=(EITHER_PHASE,),
            normalisation=(_SOFT_TISSUE,),
            labels=LN_LABELS,
            spacing_zyx_mm=(3.0, 3.0, 3.0),
            patch_zyx=(64, 64, 80),
            features=(16, 32, 48, 64, 64),
        ),
        NetworkSpec(
            name="npc_oar",
            version="1.0.0",
            title="45 organs at risk of the head and neck, as 54 exclusive labels",
            target="oar",
            channels=(NON_CONTRAST, CONTRAST),
            normalisation=(_WIDE, _WIDE),
            labels=OAR_LABELS,
            spacing_zyx_mm=(2.0, 2.0, 2.0),
            patch_zyx=(64, 80, 80),
            features=(16, 32, 64, 96, 96),
            class_balance=0.8,
            label_cc={"Brain": 3000.0},
        ),
        NetworkSpec(
            name="mediastinal_ln",
            version="1.0.0",
            title="enlarged lymph nodes of the mediastinum",
            target="nodes",
            channels=(CONTRAST,),
            normalisation=(_SOFT_TISSUE,),
            labels=("background", "Lymph Node"),
            spacing_zyx_mm=(2.0, 2.0, 2.0),
            patch_zyx=(64, 64, 64),
            features=(16, 32, 48, 64, 64),
            centred_share=0.5,
            centred_on_parts=True,
            kind="chest",
        ),
        NetworkSpec(
            name="npc_mr_gtv",
            version="1.0.0",
            title="primary tumour of nasopharyngeal carcinoma on MR",
            target="gtvp",
            channels=(T1, T2, T1C),
            normalisation=(_OF_ITS_OWN,) * 3,
            labels=("background", "GTVp"),
            spacing_zyx_mm=(2.5, 2.0, 2.0),
            patch_zyx=(48, 80, 80),
            features=(16, 32, 48, 64, 64),
            kind="mr",
            cropped=False,
        ),
        NetworkSpec(
            name="han_oar",
            version="1.0.0",
            title="the 50 structures of HaN5K's list",
            target="han",
            channels=(EITHER_PHASE,),
            normalisation=(_WIDE,),
            labels=HAN_LABELS,
            spacing_zyx_mm=(2.0, 2.0, 2.0),
            patch_zyx=(64, 80, 80),
            features=(16, 32, 64, 96, 96),
            class_balance=0.8,
            label_cc={"Brain": 3000.0},
            kind="han",
        ),
    )
}
"""By name, in the order in which `train-demo all` trains them: the quick ones first."""
