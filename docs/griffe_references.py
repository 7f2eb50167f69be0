"""Turns Transformers' references in docstrings ([`AudioBranchModel`]) into links of the API page."""

import re

import griffe

REFERENCE = re.compile(r"\[`((\w+)[\w.]*)`\](?![\[(])")


class TransformersReferences(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if not obj.docstring:
            return

        def link(match):  # only what the package exports is on the API page
            is_exported = match[2] in obj.package.members
            return f"[`{match[1]}`][modeling_audio_branch.{match[1]}]" if is_exported else f"`{match[1]}`"

        obj.docstring.value = REFERENCE.sub(link, obj.docstring.value)
