"""Numbers and tables as the chapters write them."""

from __future__ import annotations

from sgdnoise.chapters import examples, folded, fraction, short, table


class TestWords:
    def test_fractions(self) -> None:
        assert [fraction(x) for x in (1 / 16, 1 / 3, 0.3, 1.0, 1.5, 2.0)] == [
            "1/16",
            "1/3",
            "0.3",
            "1",
            "1.5",
            "2",
        ]

    def test_short_numbers(self) -> None:
        assert [short(x) for x in (0.0, 0.29, 5.14, 345.2, 3.8e-6, 2.2e9)] == [
            "0",
            "0.29",
            "5.1",
            "345",
            "3.8 × 10⁻⁶",
            "2.2 × 10⁹",
        ]

    def test_table_keeps_order_and_names(self) -> None:
        html = table([{"B": 1, "share": "4 %"}, {"B": 2, "share": "5 %"}]).to_html()
        assert html.index("B") < html.index("share") < html.index("4 %") < html.index("5 %")
        assert 'class="dataframe"' in html

    def test_one_example_is_no_plural(self) -> None:
        assert [examples(n) for n in (1, 2, 4096)] == ["1 example", "2 examples", "4,096 examples"]

    def test_an_aside_is_markdown_between_blank_lines(self) -> None:
        text = folded("More", "Some *text*.", table([{"B": 1}])).data
        assert text.startswith("<details>\n<summary>More</summary>\n\nSome *text*.\n\n")
        assert text.endswith("\n\n</details>")
        assert "<table" in text
