"""The cache of encodings: least recently used out first, never above its budget."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.errors import ConfigError


def encoding(floats: int) -> Encoding:
    return Encoding(torch.zeros(floats, 1), torch.zeros(0))


def test_the_least_recently_used_goes_first():
    cache = EncodingCache(max_bytes=8)  # two floats of four bytes
    cache.put("a", encoding(1))
    cache.put("b", encoding(1))
    assert cache.get("a") is not None
    cache.put("c", encoding(1))
    assert [cache.get(key) is not None for key in "abc"] == [True, False, True]
    assert cache.bytes == 8


def test_what_is_too_large_is_not_kept_and_harms_only_itself():
    cache = EncodingCache(max_bytes=8)
    cache.put("large", encoding(3))
    assert (len(cache), cache.bytes) == (0, 0)


def test_replacing_and_clearing_keep_the_count_of_bytes():
    cache = EncodingCache()
    cache.put("a", encoding(5))
    cache.put("a", encoding(2))
    assert cache.bytes == 8
    cache.clear()
    assert (len(cache), cache.bytes, cache.get("a")) == (0, 0, None)


def test_a_negative_budget_is_refused():
    with pytest.raises(ConfigError, match="-1"):
        EncodingCache(max_bytes=-1)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 6), st.booleans()), max_size=40))
def test_it_equals_a_naive_list(operations):
    """The naive way: a list in order of use, cut from the front while it is too large."""
    cache, naive = EncodingCache(max_bytes=40), []
    for key, floats, reads in operations:
        known = next((entry for entry in naive if entry[0] == key), None)
        if reads:
            assert (cache.get(key) is None) == (known is None)
            if known:
                naive = [entry for entry in naive if entry is not known] + [known]
        else:
            cache.put(key, encoding(floats))
            naive = [entry for entry in naive if entry is not known] + [(key, 4 * floats)]
            while sum(size for _, size in naive) > 40:
                naive = naive[1:]
        assert cache.bytes == sum(size for _, size in naive)
        assert len(cache) == len(naive)
