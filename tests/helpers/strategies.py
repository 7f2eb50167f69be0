"""Random configurations and lengths for the property tests."""

from hypothesis import strategies as st

POOLINGS = ["attention", "max", "avg", "learnable"]
POOLING_CHOICES = [
    *({"pooling_type": each} for each in POOLINGS),
    *({"pooling_type": each, "segmentation": "learned"} for each in ("attention", "avg")),
]


EDGE_LENGTHS = [0, 1, 159, 160, 399, 400]  # samples


lengths = st.lists(
    st.one_of(st.integers(160, 12000), st.sampled_from([160, 319, 320, 1279, 1280])), min_size=2, max_size=4
)


without_pooling = st.fixed_dictionaries(
    {
        "position_embedding": st.sampled_from(["relative", "rotary", "none"]),
        "subsampling_factor": st.sampled_from([1, 2, 4, 8]),
        "attention_window": st.sampled_from([None, 1, 5, 200]),
        "conv_norm": st.sampled_from(["batch", "layer"]),
        "use_bias": st.booleans(),
        "scale_input": st.booleans(),
        "use_weighted_layer_sum": st.booleans(),
    }
)


def with_pooling(pooling_choices):
    return st.builds(
        lambda choices, pooling, full: (
            choices | pooling | ({"subsampling": "striding"} if full and choices["subsampling_factor"] > 1 else {})
        ),
        without_pooling,
        st.sampled_from(pooling_choices),
        st.booleans(),
    )


architectures = with_pooling([{"pooling_type": each} for each in POOLINGS])


any_architectures = with_pooling(POOLING_CHOICES)  # with learned segments, whose borders magnify what floats round


WINDOWS = [
    {},
    {"attention_window": 3},
    {"attention_window": [2, 0]},
    {"attention_window": [-1, 1]},
    {"attention_window": [7, 2], "attention_chunked": True},
    {"attention_window": [-1, 3], "attention_chunked": True},
    {"attention_window": 2, "global_attention": "shared"},
    {"attention_window": 2, "global_attention": "separate"},
]


windows = st.sampled_from(WINDOWS)


CONVOLUTION_CHOICES = [
    {},
    {"causal_subsampling": True},
    {"conv_context": [4, 0]},
    {"conv_context": [0, 4]},
    {"conv_context": [1, 3]},
]


convolutions = st.sampled_from(CONVOLUTION_CHOICES)


worths = st.sampled_from([0, 1, 1000])  # `group_worth` of the encoder: packed as on a CPU, and as on a GPU
