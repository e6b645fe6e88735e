"""What each figure and table is, by which test it judges, and where that comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """The method behind a figure or table: a title, two sentences or three, and sources as (text, address)."""

    title: str
    text: str
    sources: tuple[tuple[str, str], ...] = ()


def _doi(text: str, doi: str) -> tuple[str, str]:
    return f"{text}, doi:{doi}", f"https://doi.org/{doi}"


def _arxiv(text: str, number: str) -> tuple[str, str]:
    return f"{text}, arXiv:{number}", f"https://arxiv.org/abs/{number}"


_HOLM = ("Holm 1979, Scand. J. Stat. 6:65", "https://www.jstor.org/stable/4615733")
_DEMSAR = ("Demšar 2006, J. Mach. Learn. Res. 7:1", "https://jmlr.org/papers/v7/demsar06a.html")
_ADEBAYO = _arxiv("Adebayo et al. 2018", "1810.03292")
_ARUN = _doi("Arun et al. 2021", "10.1148/ryai.2021200267")
_PATIENTS = _doi("Field and Welsh 2007", "10.1111/j.1467-9868.2007.00593.x")

ABOUT: dict[str, About] = {
    "model": About(
        "Model performance",
        "Accuracy, macro F1, AUROC of each class against the rest, and the expected calibration error, on the images "
        "kept for evaluation. Intervals come from drawing patients, not images, with replacement. Calibration is "
        "temperature scaling, fitted on other images.",
        (_arxiv("Guo et al. 2017", "1706.04599"), _doi("Maier-Hein et al. 2024", "10.1038/s41592-023-02151-z")),
    ),
    "distributions": About(
        "Distributions",
        "The scores of single images on which every method has a value. Dots are images, or equal shares of them where "
        "there are more than 40; the thick bar is the middle half, the thin line 5 to 95%, the tick the median and the "
        "diamond the mean.",
        (_doi("Weissgerber et al. 2015", "10.1371/journal.pbio.1002128"),),
    ),
    "scores": About(
        "Scores",
        "Means over the images on which every method has a value, so that all means are of the same images. Intervals "
        "come from drawing patients with replacement, corrected for bias and skewness.",
        (_doi("Efron 1987", "10.1080/01621459.1987.10478410"), _PATIENTS),
    ),
    "critical_difference": About(
        "Critical-difference diagrams",
        "Methods are ranked within each patient and the ranks averaged; the Friedman test asks whether they differ at "
        "all, Kendall's W how much patients agree. A bar joins methods of which no two differ by Wilcoxon signed-rank "
        "tests on patient means, Holm-corrected; without those tests, by Nemenyi's critical difference.",
        (
            _DEMSAR, _doi("Friedman 1937", "10.1080/01621459.1937.10503522"),
            _doi("Kendall and Babington Smith 1939", "10.1214/aoms/1177732186"),
        ),
    ),
    "pairwise": About(
        "Every pair of methods",
        "Wilcoxon signed-rank tests on patient means, two-sided. A corrected p is the larger of Holm's over the pairs "
        "of the measure and that of the measure's Friedman test over measures. Effect sizes are the matched-pairs "
        "rank-biserial correlation and Cliff's delta. “Detectable” is the smallest difference that this sample would "
        "have shown with the wanted power.",
        (
            _doi("Wilcoxon 1945", "10.2307/3001968"), _HOLM, _doi("Kerby 2014", "10.2466/11.IT.3.1"),
            _doi("Cliff 1993", "10.1037/0033-2909.114.3.494"),
        ),
    ),
    "controls": About(
        "Methods against controls",
        "The paired difference from a control's maps on the same images. Its p comes from permutations: of the "
        "signs of patients' differences and, where there are many random maps, of which map is taken for the method's; "
        "the larger p counts. It is corrected step by step by the smallest p over all methods, measures and controls.",
        (
            _doi("Ge, Dudoit and Speed 2003", "10.1007/BF02595811"),
            _doi("Phipson and Smyth 2010", "10.2202/1544-6115.1585"),
        ),
    ),
    "steps": About(
        "Showing and taking pixels",
        "What the model says of the class (its probability, unless the study follows the logit) as the pixels that a "
        "map ranks highest are shown on a blurred image (insertion) or give way to the blur (deletion), and likewise "
        "for other measures that follow the model. Lines are means over images with intervals from drawing patients. "
        "Evidence is what a map gains here over the same map in other places.",
        (_arxiv("Petsiuk et al. 2018", "1806.07421"),),
    ),
    "information_curves": About(
        "Information curves",
        "From a blurred image, the pixels that a map ranks highest are restored first. AIC is the share of images then "
        "given the class again, SIC the probability of the class, each against the information restored. The band is "
        "the interval of the mean at each point, from drawing patients.",
        (_doi("Kapishnikov et al. 2019", "10.1109/ICCV.2019.00505"),),
    ),
    "sanity": About(
        "Randomization checks",
        "A map must change when what the model has learned is taken away: all stages drawn at random, from the output "
        "to the input (cascading), one stage at a time (independent), or training on permuted labels. Curves show mean "
        "likeness to the trained model's maps, with intervals from drawing patients. The margin is the likeness of a "
        "method's maps of different images, less that of the two maps of one image; an interval above 0 passes.",
        (_ADEBAYO, _ARUN),
    ),
    "metric_agreement": About(
        "Agreement of measures",
        "Spearman correlation of two measures over the methods, controls left out: of the methods' means, and within "
        "each image, averaged. All are turned so that higher is better. Measures that disagree answer different "
        "questions or are noise. Kendall's W is their concordance as a family.",
        (
            _doi("Tomsett et al. 2020", "10.1609/aaai.v34i04.6064"),
            _doi("Kendall and Babington Smith 1939", "10.1214/aoms/1177732186"),
        ),
    ),
    "method_agreement": About(
        "Agreement of methods",
        "Spearman correlation of the magnitudes of two maps of an image, averaged over images. Methods stand in the "
        "order of an average-linkage clustering, so that like ones are neighbors.",
        (
            _arxiv("Krishna et al. 2022", "2202.01602"),
            _doi("Bar-Joseph et al. 2001", "10.1093/bioinformatics/17.suppl_1.S22"),
        ),
    ),
    "networks": About(
        "Agreement of networks",
        "How alike the maps of one image are that a method makes of two networks trained anew. The cross is how alike "
        "its maps of two images are by one network: a method that is worth repeating lies above it.",
        (_ARUN,),
    ),
    "reliability": About(
        "Reliability",
        "Intraclass correlation of the scores of images when the score is computed again with another seed, or of a "
        "network trained anew. At 1 a repetition gives the same scores.",
        (
            _doi("Shrout and Fleiss 1979", "10.1037/0033-2909.86.2.420"),
            _doi("McGraw and Wong 1996", "10.1037/1082-989X.1.1.30"),
        ),
    ),
    "mixed_model": About(
        "Mixed models",
        "Linear models of the score in which patients are random: they ask whether the score goes with the method, "
        "the class, the model's confidence, the correctness of the prediction, and the lesion's size and place. The p "
        "of a term (F test) is Holm-corrected over all terms and measures; a coefficient's own p is not.",
        (_doi("Laird and Ware 1982", "10.2307/2529876"), _HOLM),
    ),
    "cost": About(
        "Cost",
        "Seconds that a method took for an image on the machine of this study, against the mean of the study's first "
        "measure with its interval. Times hold for this machine alone.",
    ),
    "exclusions": About(
        "Exclusions",
        "Images without a value, counted by measure, class and reason. An undefined value is neither a success nor a "
        "failure, and an image that lacks one method's value leaves the comparison of all.",
    ),
}  # fmt: skip
