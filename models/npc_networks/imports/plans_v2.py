"""nnU-Net v2's `plans.json` and `dataset.json`, checked key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npc_contour.domain.geometry import Vec3
from npc_contour.domain.pipelines import Normalisation, Regions
from npc_networks.imports.keys import Keys, is_number, three, triple
from npc_networks.imports.plans_v1 import INT16_HU, UNCLIPPED
from npc_networks.imports.plans_v2_keys import check_architecture, check_plans
from npc_networks.imports.residual import ResidualPlan
from npc_networks.imports.safe_files import ImportRefused
from npc_networks.unet import Triple, UNetPlan

PLAIN, RESIDUAL = "PlainConvUNet", "ResidualEncoderUNet"
LOGIT_THRESHOLD = 0.0
"""A logit above it is a probability above one half, nnU-Net's threshold of regions."""

READERS = {
    "SimpleITKIO": (),
    "NibabelIO": (),
    "SimpleITKIOWithReorient": (1, 2),
    "NibabelIOWithReorient": (1, 2),
}
"""Reader → axes (z, y, x) that run the other way than in LPS: those that reorient give RAS."""
RESAMPLING = "resample_data_or_seg_to_shape"
EXPECTED_LAYERS = {
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "nonlin": "torch.nn.LeakyReLU",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlansV2:
    """One configuration of the plans, for one data set.

    Attributes:
        channels: names of the channels.
        normalisation: one per channel.
        spacing_mm: in the network's order of axes, as `patch`.
        network: what to build.
        labels: that it gives, background included.
        regions: how overlapping outputs become labels; None where the largest output wins.
        label_names: of dataset.json, in the order of their values; none of regions.
        flipped: axes (z, y, x) along which training saw the patient the other way round than LPS.
    """

    channels: tuple[str, ...]
    normalisation: tuple[Normalisation, ...]
    configuration: str
    spacing_mm: Vec3
    patch: Triple
    transpose: Triple
    network: UNetPlan | ResidualPlan
    labels: int
    regions: Regions | None
    label_names: tuple[str, ...]
    flipped: tuple[int, ...]

    @property
    def unet(self) -> UNetPlan:
        """Stages and decoder of either kind of network."""
        return self.network.unet if isinstance(self.network, ResidualPlan) else self.network


def read_plans(folder: Path, configuration: str) -> PlansV2:
    """Read the plans of one configuration.

    Raises:
        ImportRefused: a file or a key is missing or of another kind, or they ask for what is not supported.
    """
    plans = Keys(_json(folder / "plans.json"), f"{folder / 'plans.json'}")
    dataset = Keys(_json(folder / "dataset.json"), f"{folder / 'dataset.json'}")
    chosen = Keys(_resolved(plans, configuration), f"{plans.where}, configuration {configuration}")
    _check_cascade(chosen)
    check_plans(plans, dataset, chosen)
    _check_resampling(chosen)
    names = dataset.mapping("channel_names" if "channel_names" in dataset else "modality")
    # nnU-Net counts them, and takes them in the order of the file where they are not numbered.
    numbered = all(str(key).isdecimal() for key in names)
    channels = tuple(str(names[key]) for key in (sorted(names, key=int) if numbered else names))
    labels, regions = _labels(dataset)
    first, second, third = (float(v) for v in three(chosen.numbers("spacing"), f"{chosen.where}: spacing"))
    return PlansV2(
        channels=channels,
        normalisation=_normalisations(plans, chosen, len(channels)),
        configuration=configuration,
        spacing_mm=(first, second, third),
        patch=triple(chosen.numbers("patch_size"), f"{chosen.where}: patch_size"),
        transpose=_transpose(plans),
        network=_network(chosen, len(channels), labels if regions is None else len(regions.labels)),
        labels=labels,
        regions=regions,
        label_names=_names(dataset, labels) if regions is None else (),
        flipped=_flipped(plans),
    )


def _transpose(plans: Keys) -> Triple:
    order = triple(plans.numbers("transpose_forward"), f"{plans.where}: transpose_forward")
    if sorted(order) != [0, 1, 2]:
        raise ImportRefused(f"{plans.where}: transpose_forward is {list(order)}, expected an order of the axes 0, 1, 2")
    return order


def _names(dataset: Keys, labels: int) -> tuple[str, ...]:
    by_value = {_value(value): str(name) for name, value in dataset.mapping("labels").items() if name != "ignore"}
    return tuple(by_value[value] for value in range(labels))


def _flipped(plans: Keys) -> tuple[int, ...]:
    """Which axes the reader of the images turned: nnU-Net trained on what it read."""
    reader = str(plans.get("image_reader_writer")) if "image_reader_writer" in plans else "SimpleITKIO"
    if reader not in READERS:
        raise ImportRefused(f"{plans.where}: image_reader_writer is {reader!r}, supported are {', '.join(READERS)}")
    return READERS[reader]


def _json(path: Path) -> Any:  # noqa: ANN401
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImportRefused(f"{path} is no JSON: {error}") from error


def _resolved(plans: Keys, name: str) -> Mapping[str, Any]:
    """Return a configuration with what it inherits."""
    configurations = plans.mapping("configurations")
    merged: dict[str, Any] = {}
    seen: list[str] = []
    following: Any = name
    while following is not None:
        if following not in configurations or following in seen:
            raise ImportRefused(f"{plans.where}: no configuration {following!r}, there are {', '.join(configurations)}")
        if not isinstance(configurations[following], Mapping):
            raise ImportRefused(f"{plans.where}: configuration {following} is no dictionary")
        seen.append(following)
        merged = {**configurations[following], **merged}
        following = configurations[following].get("inherits_from")
    return merged


def _check_cascade(chosen: Keys) -> None:
    if "previous_stage" in chosen and chosen.get("previous_stage"):
        raise ImportRefused(
            f"{chosen.where} is the second stage of a cascade after {chosen.get('previous_stage')};"
            " cascades are not supported: import a configuration that stands alone"
        )


def _check_resampling(chosen: Keys) -> None:
    for what, order in (("data", 3), ("probabilities", 1)):
        function = chosen.get(f"resampling_fn_{what}")
        options = chosen.mapping(f"resampling_fn_{what}_kwargs")
        found = (function, options.get("order"), options.get("order_z", 0), options.get("force_separate_z"))
        if found != (RESAMPLING, order, 0, None):
            raise ImportRefused(
                f"{chosen.where} resamples {what} by {found[0]} with order {found[1]}, order_z {found[2]},"
                f" force_separate_z {found[3]}; expected {RESAMPLING} with {order}, 0, None"
            )


def _labels(dataset: Keys) -> tuple[int, Regions | None]:
    """Return how many labels there are with background, and the regions if the network was trained on them."""
    labels = dataset.mapping("labels")
    if any(isinstance(value, list) and len(value) > 1 for value in labels.values()):
        return _regions(dataset, labels)
    values = [_value(value) for name, value in labels.items() if name != "ignore"]
    if None in values or set(values) != set(range(len(values))):
        raise ImportRefused(f"{dataset.where}: labels are {labels}, expected whole numbers 0, 1, 2, ...")
    return len(values), None


def _value(value: object) -> int | None:
    """Return a label as nnU-Net reads it, which takes text, fractions without a rest, and lists of one; else None."""
    one: Any = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(one, str) and one.isdecimal():
        return int(one)
    return int(one) if is_number(one) and one == int(one) else None


def _regions(dataset: Keys, labels: Mapping[Any, Any]) -> tuple[int, Regions]:
    outputs = [value for name, value in labels.items() if name != "ignore" and _value(value) != 0]
    order = [int(label) for label in dataset.numbers("regions_class_order")]
    if len(order) != len(outputs):
        raise ImportRefused(f"{dataset.where}: {len(outputs)} regions, but regions_class_order is {order}")
    if sorted(set(order)) != list(range(1, len(set(order)) + 1)):
        raise ImportRefused(f"{dataset.where}: regions_class_order is {order}, expected the labels 1, 2, ...")
    return len(set(order)) + 1, Regions(tuple(order), LOGIT_THRESHOLD)


def _normalisations(plans: Keys, chosen: Keys, channels: int) -> tuple[Normalisation, ...]:
    schemes, masked = chosen.get("normalization_schemes"), chosen.get("use_mask_for_norm")
    if not isinstance(schemes, list) or not isinstance(masked, list) or not len(schemes) == len(masked) == channels:
        raise ImportRefused(
            f"{chosen.where}: schemes {schemes} with masks {masked} for {channels} channels of dataset.json"
        )
    return tuple(_normalisation(plans, index, str(schemes[index]), masked[index]) for index in range(channels))


def _normalisation(plans: Keys, channel: int, scheme: str, masked: object) -> Normalisation:
    if scheme == "CTNormalization":
        where = f"{plans.where}, foreground_intensity_properties_per_channel"
        properties = Keys(plans.get("foreground_intensity_properties_per_channel"), where).get(str(channel))
        found = Keys(properties, f"{where} of channel {channel}")
        low, high, mean, std = (found.number(key) for key in ("percentile_00_5", "percentile_99_5", "mean", "std"))
        return Normalisation((low, high), mean, max(std, 1e-8))
    # The others do not look at the mask in nnU-Net either.
    if scheme == "ZScoreNormalization":
        return Normalisation(UNCLIPPED, 0.0, 1.0, "zscore", masked=bool(masked))
    if scheme == "NoNormalization":
        return Normalisation(INT16_HU, 0.0, 1.0)
    if scheme == "RescaleTo01Normalization":
        return Normalisation(UNCLIPPED, 0.0, 1.0, "rescale01")
    if scheme == "RGBTo01Normalization":
        return Normalisation(UNCLIPPED, 0.0, 1.0, "rgb01")
    raise ImportRefused(
        f"{plans.where}: channel {channel} is normalised by {scheme}; supported are CTNormalization,"
        " ZScoreNormalization, NoNormalization, RescaleTo01Normalization, RGBTo01Normalization"
    )


def _network(chosen: Keys, channels: int, classes: int) -> UNetPlan | ResidualPlan:
    read = _new_style if "architecture" in chosen else _old_style
    try:
        return read(chosen, channels, classes)
    except ImportRefused:
        raise
    except ValueError as error:
        raise ImportRefused(f"{chosen.where}: {error}") from error


def _new_style(chosen: Keys, channels: int, classes: int) -> UNetPlan | ResidualPlan:
    architecture = Keys(chosen.get("architecture"), f"{chosen.where}, architecture")
    name = str(architecture.get("network_class_name")).rpartition(".")[2]
    if name not in (PLAIN, RESIDUAL):
        raise ImportRefused(f"{architecture.where} is {name}, supported are {PLAIN} and {RESIDUAL}")
    options = Keys(architecture.get("arch_kwargs"), f"{architecture.where}, arch_kwargs")
    check_architecture(architecture, options)
    for key, expected in EXPECTED_LAYERS.items():
        if options.get(key) != expected:
            raise ImportRefused(f"{options.where}: {key} is {options.get(key)}, expected {expected}")
    if options.get("dropout_op") or not options.get("conv_bias"):
        raise ImportRefused(f"{options.where}: expected no dropout and convolutions with a bias")
    decoder = _same(options, "n_conv_per_stage_decoder")
    unet = UNetPlan(
        in_channels=channels,
        classes=classes,
        features=tuple(int(width) for width in options.numbers("features_per_stage")),
        kernels=tuple(options.rows("kernel_sizes")),
        strides=tuple(options.rows("strides")),
        convs_per_stage=decoder,
    )
    if name == RESIDUAL:
        return ResidualPlan(unet=unet, blocks=_counts(options, "n_blocks_per_stage"))
    if _same(options, "n_conv_per_stage") != decoder:
        raise ImportRefused(f"{options.where}: encoder and decoder have different numbers of convolutions per stage")
    return unet


def _old_style(chosen: Keys, channels: int, classes: int) -> UNetPlan | ResidualPlan:
    """Return the network of plans written before version 2.3, which had no architecture of their own."""
    name = chosen.get("UNet_class_name")
    if name not in (PLAIN, RESIDUAL):
        raise ImportRefused(f"{chosen.where}: UNet_class_name is {name}, expected {PLAIN} or {RESIDUAL}")
    convs = _same(chosen, "n_conv_per_stage_decoder")
    kernels = chosen.rows("conv_kernel_sizes")
    base, most = chosen.whole("UNet_base_num_features"), chosen.whole("unet_max_num_features")
    unet = UNetPlan(
        in_channels=channels,
        classes=classes,
        features=tuple(min(base * 2**stage, most) for stage in range(len(kernels))),
        kernels=tuple(kernels),
        strides=tuple(chosen.rows("pool_op_kernel_sizes")),
        convs_per_stage=convs,
    )
    if name == RESIDUAL:
        return ResidualPlan(unet=unet, blocks=_counts(chosen, "n_conv_per_stage_encoder"))
    if _same(chosen, "n_conv_per_stage_encoder") != convs:
        raise ImportRefused(f"{chosen.where}: encoder and decoder have different numbers of convolutions per stage")
    return unet


def _counts(options: Keys, key: str) -> tuple[int, ...]:
    return tuple(int(count) for count in options.numbers(key))


def _same(options: Keys, key: str) -> int:
    counts = set(_counts(options, key))
    if len(counts) != 1:
        raise ImportRefused(f"{options.where}: {key} is {sorted(counts)}, expected the same number for every stage")
    return counts.pop()
