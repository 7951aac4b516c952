"""Which models a store can be benchmarked with, and what a reader of the results should know of it. Trains nothing.

The benchmark models read one channel at 16 kHz and the log-mel of the baselines. A network that classifies sections
needs two of them, one that learns from outliers other sections, and every network clips of some length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mimiidg_build.benchmark.runs import Network, networks_of
from mimiidg_build.benchmark.tested import sections_with
from mimiidg_build.errors import DataError, UsageError
from mimiidg_build.models import GROUPS, MODELS, UNCHANGED, Changes, check_profile, model_class, settings_of
from mimiidg_build.schemas.sections import section_names
from mimiidg_build.store.store import Store

Refusal = UsageError | DataError


def expanded(store: Store, models: Sequence[str], profile: str, changes: Changes = UNCHANGED) -> list[str]:
    """The models that are meant, each once: of ``all`` and ``ablations`` those that the store suits.

    Parameters
    ----------
    store : Store
    models : sequence of str
        Names of models and of ``GROUPS``.
    profile : str
    changes : mapping of str to object
        Settings in place of the profile's.

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        There is no such model or profile.
    UsageError or DataError
        No model of a group can be run on the store.
    """
    names: list[str] = []
    for model in models:
        refused = {name: refusal(store, name, profile, changes) for name in GROUPS.get(model, ())}
        suited = [name for name, error in refused.items() if error is None]
        if not suited and (first := next(iter(refused.values()), None)):
            raise first
        names += suited if model in GROUPS else [model]
    return list(dict.fromkeys(names))


def check_suited(store: Store, models: Sequence[str], profile: str, changes: Changes = UNCHANGED) -> None:
    """Refuse models that are named and cannot be run on a store, before any work.

    Parameters
    ----------
    store : Store
    models : sequence of str
        Names of models and of ``GROUPS``.
    profile : str
    changes : mapping of str to object
        Settings in place of the profile's.

    Raises
    ------
    UsageError
        There is no such model or profile; or the store has other settings than a model takes, clips that are too short,
        or too few sections.
    DataError
        A model learns from other sections, and the store has none; or it compares training clips with each other, and
        there is one.
    """
    for model in models:
        if model not in GROUPS and (error := refusal(store, model, profile, changes)):
            raise error


def check_embeds(store: Store, models: Sequence[str]) -> None:
    """Refuse models that back ends cannot score, and a store that leaves them nothing to compare, before any work.

    Raises
    ------
    UsageError
        A model gives no embeddings.
    DataError
        A section has a single training clip.
    """
    for model in models:
        if not model_class(model).embeds():
            able = ", ".join(name for name in MODELS if model_class(name).embeds())
            raise UsageError(
                f"{model} gives no embeddings for back ends to score. These do: {able}; and a model of your own that "
                "defines _embed_clips(features, labels)"
            )
    clips = store.clips
    counts = section_names(clips[clips["split"] == "train"]).value_counts()
    for name in sections_with(store, "train"):
        if counts[name] < 2:
            raise DataError(
                f"back ends compare a section's training clips with each other, and {name} of {store.path} has one. "
                "Leave the section out of the variant, or benchmark without back ends"
            )


def left_out(store: Store, models: Sequence[str], profile: str, changes: Changes = UNCHANGED) -> list[str]:
    """Why members of ``all`` and ``ablations`` are not run on a store, a line each."""
    return [f"left out: {error}" for error in refused_members(store, models, profile, changes).values()]


def refused_members(
    store: Store, models: Sequence[str], profile: str, changes: Changes = UNCHANGED
) -> dict[str, Refusal]:
    """The members of ``all`` and ``ablations`` that cannot be run on a store, and why not.

    Parameters
    ----------
    store : Store
    models : sequence of str
        Names of models and of ``GROUPS``; those of models are passed over.
    profile : str
    changes : mapping of str to object
        Settings in place of the profile's.
    """
    members = dict.fromkeys(name for model in models for name in GROUPS.get(model, ()))
    return {name: error for name in members if (error := refusal(store, name, profile, changes))}


def refusal(store: Store, model: str, profile: str, changes: Changes = UNCHANGED) -> Refusal | None:
    """Why a model cannot be run on a store; None where it can.

    Raises
    ------
    UsageError
        There is no such model, or a change is of the wrong type or out of range.
    """
    try:
        check_profile(model, profile)
    except UsageError as error:
        return error
    settings_of(model, profile, changes)
    return next(_refusals(store, model, profile, changes), None)


def _refusals(store: Store, model: str, profile: str, changes: Changes) -> Iterator[Refusal]:
    yield from _other_features(store, model)
    networks = networks_of(store, model_class(model).scope)
    if not networks:
        yield DataError(f"{model}: {store.path} has no test clips to score")
    names = [network.name for network in networks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        yield UsageError(
            f"{model}: two sections of {store.path} would have networks of one name, {twice}: rename one of them"
        )
    trained = sections_with(store, "train")
    yield from _too_few_clips(store, model, profile, changes)
    for network in networks:
        own = [name for name in trained if network.serves(name)]
        yield from _too_few(store, model, own, len(trained))
        yield from _too_short(store, model, profile, changes, own)
        yield from _too_masked(store, model, profile, changes, own)


def _too_few(store: Store, model: str, own: Sequence[str], n_trained: int) -> Iterator[Refusal]:
    """A network without sections to tell apart, or without outliers; ``own`` are its sections with training clips."""
    cls = model_class(model)
    if own and len(own) < cls.min_sections:
        yield UsageError(
            f"{model} learns to classify sections: it needs two or more in a network, found {len(own)}, {own[0]}. "
            f"Choose another model, or leave {own[0].split('/')[0]} out of the variant"
        )
    if cls.uses_outliers and len(own) == n_trained:
        what = "of other machine types" if cls.scope == "machine_type" else "of other sections"
        yield DataError(
            f"{model}: its networks need outliers, the training clips {what}, to train on, and {store.path} has none "
            f"beside {', '.join(own)}"
        )


def _too_few_clips(store: Store, model: str, profile: str, changes: Changes) -> Iterator[Refusal]:
    """Single training clips, where a model compares those of a section, or of a machine type, with each other."""
    within = model_class(model).compares_within(settings_of(model, profile, changes))
    if within is None:
        return
    clips = store.clips
    training = clips[clips["split"] == "train"]
    counts = (section_names(training) if within == "section" else training["machine_type"]).value_counts(sort=False)
    for name in counts.index[counts < 2]:
        yield DataError(
            f"{model} compares training clips of a {within.replace('_', ' ')} with each other, and {name} of "
            f"{store.path} has one. Choose another model, or leave {name} out of the variant"
        )


def _too_short(store: Store, model: str, profile: str, changes: Changes, own: Sequence[str]) -> Iterator[Refusal]:
    """Sections whose clips are shorter than a network takes."""
    cls = model_class(model)
    lengths, least = section_lengths(store, model), cls.min_length(settings_of(model, profile, changes))
    unit = "samples" if cls.takes == "audio" else "frames"
    for name in own:
        if lengths[name] < least:
            yield UsageError(
                f"{model}, profile {profile}: the clips of {name} have {lengths[name]:,} {unit}, and its network needs "
                f"{least:,} or more. Choose another model, or leave the section out of the variant"
            )


def _too_masked(store: Store, model: str, profile: str, changes: Changes, own: Sequence[str]) -> Iterator[UsageError]:
    """Masks as wide as what a network would have masked, or nothing to mask."""
    settings = settings_of(model, profile, changes)
    wanted = [axis for axis in ("time", "frequency") if getattr(settings, f"{axis}_masks")]
    if not wanted or not own:
        return
    length = min(section_lengths(store, model)[name] for name in own)
    shape = model_class(model).mask_shape(settings, length, store.attributes.variant.features.n_mels)
    if shape is None:
        yield UsageError(f"{model} has no spectrogram to mask with these settings: leave masks out")
        return
    for axis, size, unit in (("time", shape[0], "frames"), ("frequency", shape[1], "mel bands")):
        if axis in wanted and (width := getattr(settings, f"{axis}_mask_width")) >= size:
            yield UsageError(
                f"{model}: {axis}_mask_width = {width}, and what it is given at a time has {size} {unit}: a mask could "
                f"hide all of it. Set {axis}_mask_width to less than {size}"
            )


def _other_features(store: Store, model: str) -> Iterator[UsageError]:
    """Channels and features that are not those that the model is made for."""
    needs = model_class(model).needs
    for section_id, section in store.sections.items():
        audio = section.audio
        features, model_type = store.attributes.variant.features, model_class(model)
        is_one = audio.channels is None or (model_type.takes == "logmel" and not features.keeps_channels("logmel"))
        if not is_one and not model_type.any_channels:
            but = f', and without features.reference = "{features.reference}"' if features.has_reference else ""
            yield UsageError(
                f"{model} takes one channel, and {section_id} of {store.path} has {audio.channels}. Build the variant "
                f"with `channels = 0`, or the number of another channel{but}."
            )
        found = features.values | {"sample_rate": audio.sample_rate}
        if found["f_max_hz"] == audio.sample_rate / 2:
            found["f_max_hz"] = None  # as if it were not given
        if odd := [key for key in needs if found[key] != needs[key]]:
            yield UsageError(
                f"{model} is made for {_said(odd[0], needs[odd[0]])}, and {section_id} of {store.path} has "
                f"{_said(odd[0], found[odd[0]])}. Build a variant with what it needs; nearest_neighbour takes any."
            )


def _said(key: str, value: object) -> str:
    """A setting in a message.

    >>> _said("n_mels", 128), _said("mel_scale", "htk"), _said("f_max_hz", None)
    ('features.n_mels = 128', 'features.mel_scale = "htk"', 'features.f_max_hz not set')
    """
    name = key if key == "sample_rate" else f"features.{key}"
    return (
        f"{name} not set" if value is None else f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}"
    )


def section_lengths(store: Store, model: str) -> dict[str, int]:
    """How long the clips of each section are in what a model takes: samples of audio, or frames."""
    from mimiidg_build.training.clip_length import clip_lengths

    takes = model_class(model).takes
    return clip_lengths(store, "audio" if takes == "embedding" else takes)


def cut_clips(store: Store, models: Sequence[str]) -> list[str]:
    """What is said of networks that take only the beginning of some clips, a line each."""
    return [
        line
        for model in dict.fromkeys(models)
        if model_class(model).takes != "embedding"  # an encoder takes clips as they are
        for network in networks_of(store, model_class(model).scope)
        for line in _cut(store, model, network)
    ]


def _cut(store: Store, model: str, network: Network) -> Iterator[str]:
    lengths = section_lengths(store, model)
    own = sorted((name for name in sections_with(store, "train") if network.serves(name)), key=lengths.__getitem__)
    longer = [name for name in own if lengths[name] > lengths[own[0]]]
    if longer:
        seconds = store.sections[own[0]].audio.seconds
        yield (
            f"{model} takes the first {seconds:g} s of every clip, as long as those of {own[0]}: "
            f"{len(longer)} of {len(own)} sections have longer clips, {longer[0]} among them"
        )


def not_changed(models: Sequence[str], changes: Changes) -> list[str]:
    """What is said of models that lack some of the settings that were changed, a line each."""
    lacking = {
        model: [key for key in changes if key not in model_class(model).changeable()] for model in dict.fromkeys(models)
    }
    return [
        f"{model} has no {' and no '.join(keys)}, and ran as its profile says otherwise"
        for model, keys in lacking.items()
        if keys
    ]
