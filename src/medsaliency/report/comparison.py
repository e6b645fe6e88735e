"""Several runs side by side, as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from medsaliency.report.comparison_findings import findings
from medsaliency.report.comparison_tables import WORDS, accuracy_rows, measure_tables, performance_rows, trust_matrix
from medsaliency.report.comparison_tables import difference as written_difference
from medsaliency.report.comparison_tables import rankings as ranking_rows
from medsaliency.report.contents import Comparison
from medsaliency.report.html import PAGE
from medsaliency.report.wording import count, estimate, method_label, without_folders
