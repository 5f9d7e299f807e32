"""Verdict words of several languages, normalised to one alphabet for the patterns.

`plain` normalises case, digits, dashes and markup; `translated` replaces known foreign words with marks. Both keep the
place of every character, so that a match in the normalised text is a place in the reply.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from scorer.frozen import dataclass
from scorer.patterns import pattern

# --- flattening -------------------------------------------------------------------------------------------------------

# The zeros of scripts with decimal digits of their own: Arabic, Persian, Devanagari, ..., full width.
_ZEROS = (
    0x660,
    0x6F0,
    0x7C0,
    0x966,
    0x9E6,
    0xA66,
    0xAE6,
    0xB66,
    0xBE6,
    0xC66,
    0xCE6,
    0xD66,
    0xE50,
    0xED0,
    0xF20,
    0x1040,
)
_DIGITS = {zero + n: str(n) for zero in (*_ZEROS, 0x17E0, 0x1810, 0xFF10) for n in range(10)}
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in (*range(0xFF01, 0xFF10), *range(0xFF1A, 0xFF5F))}
_FLAT = str.maketrans(
    {chr(code): said for code, said in (_DIGITS | _FULL_WIDTH).items()}
    | {**dict.fromkeys("*`_[]【】［］\t\r\xa0\u200b\u3000\ufe0f", " "), **dict.fromkeys("“”„«»「」『』《》", '"')}
    | {**dict.fromkeys("−–—‒‑", "-"), **dict.fromkeys("～〜∼", "~")}
    | {"’": "'", "。": "!", "、": ",", "⟶": "→", "⇒": "→", "·": " ", "•": "-"}
)


def plain(text: str) -> str:
    """The text in lower case, markup as spaces, digits, dashes and quotes as ASCII; no character moves."""
    lowered = text.lower()
    if len(lowered) != len(text):  # U+0130 alone has two characters in lower case
        lowered = "\u0130".join(part.lower() for part in text.split("\u0130"))
    return lowered.translate(_FLAT)


def plain_case(text: str) -> str:
    """The text as `plain` gives it, but in its own case."""
    return text.translate(_FLAT)


def without_text_macros(text: str) -> str:
    """The text with what LaTeX writes as \\text{4} unwrapped, every character of it in its place."""
    return _TEXT_MACRO.sub(lambda m: f" {m[1]} ".rjust(len(m[0])), text)


_TEXT_MACRO = pattern(r"\\text(?:bf|rm|it)?\{([^{}\n]{0,60})\}")


def word_set(said: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(said.split())


# --- marks ------------------------------------------------------------------------------------------------------------

LABEL, JOINED, FINAL, IS, GIVES, NOT = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004", "\ue005"
"""A noun such as score; one that needs nothing before its number; "final"; "is"; "gives"; "not"."""
BETTER, PREFER, TIE, NOUN, BETWEEN = "\ue006", "\ue007", "\ue008", "\ue009", "\ue00a"
""" "Better"; "I prefer"; a tie; a noun such as response; "between"."""

LETTER = r"[^\W\u0e00-\u0e7f\u3040-\u30ff\u3100-\u312f\u3400-\u9fff\uac00-\ud7af]"
"""A character of a word, in scripts that put spaces between words."""
BEGIN, END = f"(?<!{LETTER})", f"(?!{LETTER})"
"""Where a word begins and where it ends."""
ALPHABET = r"[^\W\d_\u0e00-\u0e7f\u3040-\u30ff\u3100-\u312f\u3400-\u9fff\uac00-\ud7af]"
"""A letter of these scripts."""
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""The English words for 0 to 10, in order."""
NUMBER_WORD = f"(?:{'|'.join(NUMBER_WORDS)})"

_WORDS: dict[str, str] = {
    LABEL: "bewertung note wertung punktzahl punktestand urteil ergebnis beurteilung gewinner sieger "  # German
    "évaluation résultat gagnant vainqueur jugement "  # French
    "puntuación puntuacion calificación calificacion puntaje valoración evaluación veredicto nota ganador resultado "
    "pontuação pontuacao avaliação avaliacao classificação vencedor veredito vencedora "  # Portuguese
    "punteggio voto valutazione giudizio verdetto vincitore "  # Italian
    "beoordeling cijfer oordeel winnaar "  # Dutch
    "ocena wynik werdykt zwycięzca puan betyg omdöme vinnare karakter pisteet hodnocení "
    "оценка балл рейтинг вердикт победитель результат оцінка التقييم تقييم الدرجة درجة النتيجة الفائز",
    FINAL: "endgültige finale gesamte definitive finale globale totale générale globale "
    "final total general global definitiva finale complessivo итоговая итоговый общая финальная النهائي النهائية",
    FINAL
    + LABEL: "gesamtbewertung gesamtnote gesamtpunktzahl gesamturteil endnote endergebnis endbewertung eindoordeel",
    IS: "ist wäre beträgt lautet est serait es sería é seria è sarebbe war jest это هو هي",
    GIVES: "gebe vergebe geben vergeben bewerte bekommt erhält verdient verdiene "
    "donne mets mettrais attribue mérite obtient reçoit évalue "
    "doy merece otorgo pongo asigno obtiene recibe daría califico "
    "dou atribuo recebe "
    "merita assegno ottiene attribuisco "
    "geef verdient krijgt ставлю заслуживает получает оцениваю daję zasługuje veriyorum أعطي يستحق",
    NOT: "nicht kein keine keiner keinen pas não non niet не nie",
    BETTER: "besser bessere beste überlegen meilleure meilleur meilleurs supérieure supérieur mejor melhor "
    "migliore beter "
    "лучше lepsza lepszy gewinnt gagne gana vence vince wint أفضل",
    PREFER: "bevorzuge wähle préfère choisis prefiero elijo prefiro escolho preferisco scelgo kies выбираю "
    "предпочитаю "
    "wybieram أختار",
    TIE: "unentschieden gleichstand gleichwertig égalité égales égaux empate iguales iguais uguali empatados "
    "empatadas pareggio parità "
    "gelijkspel ничья remis berabere oavgjort تعادل",
    NOUN: "antwort réponse respuesta resposta risposta antwoord ответ ausgabe assistent assistente asistente sortie "
    "salida modelo modèle modell текст odpowiedź svar",
    BETWEEN: "zwischen entre между tra fra tussen",
}
_JOINED_WORDS: dict[str, str] = {
    JOINED: "评分 得分 分数 打分 评价 "
    "评级 结果 胜者 赢家 获胜者 優勝者 选择 選択 判断 判定 结论 結論 評価 スコア 点数 得点 評点 採点 勝者 勝ち 점수 "
    "평점 평가 승자 선택 결과 स्कोर अंक रेटिंग विजेता คะแนน",
    FINAL + JOINED: "总分 總分 总评 总体评分 最终评分 最终得分 最终选择 最终答案 最终判断 综合评分 "
    "総合評価 総合点 最終評価 최종",
    IS: "为 是 為 は है",
    GIVES: "给出 给 給 打 得 值",
    NOT: "不是 不 没有 没 ない",
    BETTER: "更好 更优 更優 更佳 较好 胜出 获胜 胜 "
    "の方が良 の方がよ の方が優 のほうが良 のほうが優 の方がい の方が適切 が優れて が勝 を選 "
    "가_더_좋 이_더_좋 가_더_낫 이_더_낫 가_더_우수 이_더_우수",
    TIE: "平局 平手 打平 两者相当 不相上下 旗鼓相当 一样好 同样好 不分上下 并列 難分 "
    "引き分け 同点 同等 同じくらい 무승부 비겼 동점 동등 बराबरी",
    NOUN: "回答 答案 回复 助手 模型 応答 アシスタント 응답 답변 모델 उत्तर",
}
_NUMBERS = {
    "eins zwei drei vier fünf sechs sieben acht neun zehn": range(1, 11),
    "deux trois quatre cinq sept huit neuf dix": (2, 3, 4, 5, 7, 8, 9, 10),
    "cero uno dos tres cuatro cinco seis siete ocho nueve diez": range(11),
    "dois três quatro sete oito nove dez": (2, 3, 4, 7, 8, 9, 10),
    "tre quattro cinque sette otto nove dieci": (3, 4, 5, 7, 8, 9, 10),
    "twee drie vijf zes zeven negen tien": (2, 3, 5, 6, 7, 9, 10),
    "ноль один два три четыре пять шесть семь восемь девять десять": range(11),
}
# Words that are also English, or a name of something else, count where one of these shows another language.
_TELLING = word_set(
    "der das ist eine ich und la le les une est réponse je et el los il mio mia è mi respuesta es lo della "
    "risposta os uma resposta "
    "de du des"
)
_DOUBTFUL = word_set("note nota voto sei final total general global es war non sept dos uno tre dix finale resultado")


def words_of_numbers() -> frozenset[str]:
    """Every word that is a number from 0 to 10 in some language."""
    return frozenset((*NUMBER_WORDS, *(word for words in _NUMBERS for word in words.split())))


def words_of_labels() -> frozenset[str]:
    """Every word that may stand before a verdict, as "score" and "final" do, in some language."""
    foreign = (word for mark in (LABEL, FINAL, FINAL + LABEL) for word in _WORDS[mark].split())
    return frozenset((*_ENGLISH_LABELS, *foreign))


def words_of_links() -> frozenset[str]:
    """Every foreign word for "is"."""
    return word_set(_WORDS[IS])


_ENGLISH_LABELS = word_set(
    "score scores rating ratings grade grades verdict mark marks judgement judgment evaluation assessment boxed "
    "answer result decision final overall total revised corrected updated adjusted note nota voto"
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The foreign words that a scale knows, each with its replacement: marks and spaces of the same length."""

    words: Mapping[str, str]
    joined: re.Pattern[str]
    marks: Mapping[str, str]


def vocabulary(numbers: bool, without: Collection[str] = ()) -> Vocabulary:
    """The vocabulary, with number words where `numbers`, without the words that occur in the texts `without`."""
    taken = {word for text in without for word in _WORD.findall(text)}
    said = {word: mark for mark, words in _WORDS.items() for word in words.split() if word not in taken}
    if numbers:
        said |= {w: str(n) for words, values in _NUMBERS.items() for w, n in zip(words.split(), values, strict=True)}
    joined = {
        word.replace("_", " "): mark
        for mark, words in _JOINED_WORDS.items()
        for word in words.split()
        if not any(word in text for text in without)
    }
    return Vocabulary(
        {word: mark.ljust(len(word)) for word, mark in said.items()},
        pattern("|".join(map(re.escape, sorted(joined, key=len, reverse=True)))),
        {word: mark.rjust(len(word)) for word, mark in joined.items()},
    )


_WORD = pattern(r"[^\W\d_]{1,40}")


def translated(text: str, known: Vocabulary) -> str:
    """The flattened text with its foreign words replaced, every character in its place."""
    said = set(_WORD.findall(text))
    if not said.isdisjoint(known.words):
        doubtful = _DOUBTFUL if said.isdisjoint(_TELLING) else frozenset()

        def put(match: re.Match[str]) -> str:
            word = match[0]
            return word if word in doubtful else known.words.get(word, word)

        text = _WORD.sub(put, text)
    return text if text.isascii() else known.joined.sub(lambda m: known.marks[m[0]], text)
