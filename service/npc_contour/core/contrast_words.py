"""What a free text says of intravenous contrast, in the languages of the field.

English, German, French, Spanish, Italian, Portuguese, Dutch, Chinese, Japanese and Korean, and the plainest words of
Scandinavian and Slavic languages, Finnish and Turkish, as scanners and people write them into descriptions, protocol
names and Contrast/Bolus Agent.
A word for the agent speaks for contrast unless it is negated or "pre"; contrast by mouth is none in the vessels; a
text of both phases ("w/wo") tells nothing of one series.
"""

from __future__ import annotations

import re
import unicodedata

from npc_contour.domain.pipelines import Contrast

_BEFORE, _AFTER = r"(?<![a-z])", r"(?![a-z])"
_NEGATION = (
    r"(?:non?|not|none|nil|un|without|w\s?/?\s?o|sans|pas\s+d[e']|aucune?|ohne|o\.|keine?[mnrs]?|nicht|sin|ningun[oa]?|s/"
    r"|s\.?(?=\s+(?:mdc|civ|contraste))|senza|nessuno?|sem|nenhum|nao|zonder|geen|uten|utan|uden|ej|inte|ikke|ing[ea]n|inget|bez|brak|ilman|без|нет|pre|before|prior\s+to|vor|avant|antes|prima|ante|voor|minus)"
)
_FILLER = (
    r"(?:\s|[-./:,(]|\b(?:any|the|de|du|del|della|dell|di|da|do|d|la|le|el|il|den|der|het|of|to|w|with|given|i\.?v|ev|e\.v"
    r"|intravenous|intraveno[su][oae]?|endovenos[oa]|produit|mezzo|mdc|meio|medio|agent|bolus|injection\s+of)\b)*"
)
_AGENT = (
    r"(?:contrast(?:e|es|o|ed|s|ata|ato|ado|ada|mittel|media|medium|middel)?|kontrast(?:mittel|medel|middel|iert|verst\w*|u|em|om|ni|ia|illa|lu|li|lı)?|контраст\w*|km|mdc|m\.d\.c|pdc"
    r"|civ|cm\s?i\.?v|gd|gad(?:o\w*|avist)?|dtpa|magnevist|multihance|prohance|dotarem|clariscan|omniscan|elucirem|vueway"
    r"|primovist|eovist|artirem|omnipaque|ultravist|visipaque|iomer\w*|isovue|iopami\w*|xenetix|optiray|imeron|oxilan"
    r"|accupaque|solutrast|ioversol|iohexol|iopromide?|iodixanol|iobitridol|hexabrix|ioversol"
    r"|inj|inject\w*|injekt\w*|injic\w*|iniezion\w*|inyec\w*|injecao|enhanc(?:ed|ement|e)?|realce|rehauss\w*|ce|cect|cemr"
    r"|dce|bolus)"
)
_VEIN = r"(?:i\.?\s?v\.?|ev|e\.v\.?|intraven\w*|endoven\w*)"
_MOUTH = r"(?:oral\w*|per\s?os|peroral\w*|p\.?\s?o\.?|rectal\w*|rektal\w*|enteral\w*|enteric|intrathe\w*|barium\w*)"
_MOUTH_ONLY = re.compile(rf"{_BEFORE}(?:(?:{_NEGATION}\s+)?{_MOUTH}\W*(?:{_AGENT})?|{_AGENT}\W*{_MOUTH}){_AFTER}")
_IN_VEIN = re.compile(rf"{_BEFORE}{_VEIN}{_AFTER}")
_BOTH = re.compile(
    rf"{_BEFORE}w(?:ith)?\s*(?:/?\s*&|/|\+|and|\s|-)\s*(?:w\s?/?\s?o|without)(?:[\s.-]*(?:i\.?v[\s.-]*)?{_AGENT})?{_AFTER}"
    rf"|{_BEFORE}(?:w\s?/?\s?o|without)\s*(?:/|&|\+|and)\s*w(?:ith)?(?:[\s.-]*(?:i\.?v[\s.-]*)?{_AGENT})?{_AFTER}"
    rf"|{_BEFORE}pre\s*(?:/|&|\+|and|et|und|e|y|en|-)?\s*post(?:[\s.-]*{_AGENT})?{_AFTER}"
    r"|\b(?:avec\s+(?:et|ou|/)\s+sans|sans\s+(?:et|puis)\s+avec|mit\s*(?:und|u\.|/|\+)\s*ohne|ohne\s*(?:und|u\.|/|\+)\s*mit"
    r"|con\s*(?:y|e|/)\s*(?:sin|senza)|(?:sin|senza)\s*(?:y|e|/)\s*con|com\s*(?:e|/)\s*sem|sem\s*(?:e|/)\s*com"
    rf"|met\s*(?:en|/)\s*zonder|zonder\s*(?:en|/)\s*met)\b{_FILLER}(?:{_AGENT})?"
    rf"|{_BEFORE}nativ\s*(?:und|u\.|\+|&|/)\s*(?:mit\s+|m\.\s*)?(?:{_VEIN}\W*)?{_AGENT}{_AFTER}"
    r"|平[扫掃]\s*[+＋/及加和、与與]?\s*[增强強化]{2}(?:扫描|掃描)?|(?:単純|單純|单纯)\s*[+＋/・と及]?\s*造影|造影前後|造影前后|조영\s*전\s*후"
    r"|[a-z]?c\s?\+\s?/\s?-|c\s?-\s?/\s?(?:c\s?)?\+|\+\s?/\s?-\s*(?:contrast\w*|c|km|gd)\b"
)
_NO_MATTER = re.compile(
    rf"{_BEFORE}(?:high|low|soft[\s-]*tissue|tissue|image|inherent|multi|phase|edge|detail|sharp|bone)[\s-]*"
    rf"(?:contrast|enhanc)\w*|{_BEFORE}contrast[\s-]*(?:resolution|ratio|optimi\w*)"
)
"""Contrast and enhancement that are properties of an image, and phase-contrast flow imaging."""
_REFUSED = re.compile(
    rf"{_AGENT}\W*(?:was\s+|is\s+)?(?:refus\w*|declin\w*|contraind\w*|kontraind\w*|allerg\w*|not\s+given|nicht|abgelehnt|yok|brak|нет"
    rf"|negativ\w*|free|frei(?:e[nrms]?)?|none|nil|nein|non|no|nee|nao|0)\b|{_AGENT}\s*[:=]\s*n\b|kontrastmittelfrei\w*|{_BEFORE}(?:allerg\w*)\W*(?:to\s+)?{_AGENT}"
)
_MINUS = r"(?:ce?|cm|km|gd|gad|iv|mdc|contrast\w*)\s?-(?![a-z0-9+/])"
_ABSENT = re.compile(
    rf"{_BEFORE}{_NEGATION}{_FILLER}(?:{_AGENT}|con)(?:\W+(?:de|di|of)?\W*{_AGENT})*{_AFTER}|{_BEFORE}{_NEGATION}{_FILLER}{_VEIN}{_AFTER}|(?<![a-z0-9]){_MINUS}"
    rf"|{_BEFORE}(?:w\s?/?\s?o|s\s?/\s?c|n[ec]ct|woc|contrast\s?less|plain|nati[vf](?:[aeo]|serie|phase|scan|ct|aufnahmen?|untersuchung)?|basale?(?!\W*gang)|blanco|simple|unkontrast\w*|kontrasts[iı]z|нативн\w*|бесконтраст\w*){_AFTER}"
    rf"|{_BEFORE}pre(?![\s._-]*(?:op|rt|rxt|xrt|crt|treat|ther|chemo|surg|rad|sat|scan|proc|bio|monit|plan|trans|nat|sent"
    rf"|test|induc|neo|tx|inter|mol|frontal|vert|vac|auric|epi|ictal|dose|cath|implant|stent|angio|study|imp))(?![a-z])"
    r"|平[扫掃]|単純|單純|单纯|(?:未|无|無|不|非|没有?|沒有?)(?:做|打|用|注射|使用|加)?\s*(?:造影|增[强強]|[强強]化|对比|對比|药|藥)"
    r"|(?:造影|增[强強])(?:剤|剂|劑)?\s*(?:なし|無し?|无|ナシ|未使用|不使用|せず|前)|비조영|무조영|조영제?\s*(?:전|없이|없음|안\s?함|미사용|X)|단순"
)
_PRESENT = re.compile(
    rf"{_BEFORE}(?:post\W*)?{_AGENT}{_AFTER}|{_BEFORE}w(?:ith)?\W*(?:con|ivc){_AFTER}"
    rf"|{_BEFORE}t1\s?(?:c|ce|gd|km)(?![a-z-])|(?<![a-z0-9])(?:c|km|gd|iv|mdc)\s?\+|\+\s?(?:c|km|gd|ce|iv|mdc)\b"
    rf"|{_BEFORE}(?:con|com|c/|mit|avec|met|with|w/|post|nach|apres|dopo|despues\s+de|na|nach)\s*{_VEIN}{_AFTER}|{_BEFORE}c\s?/\s?c{_AFTER}"
    rf"|{_BEFORE}post(?![\s._-]*(?:op|rt|rxt|xrt|crt|treat|ther|chemo|surg|rad|resec|proc|bio|induc|neo|tx|ttt|cath|ictal"
    rf"|erior|implant|stent|transpl|mast|laryn|thyr|neck|dose|process|proc|par|trauma|mort|void|ct\b|mr\b|pet|qa))(?![a-z])"
    rf"|{_BEFORE}(?:arteri(?:al|ell|elle|el|osa|oso)|veineu[xs]e?|ven(?:ous|os[ao]?|oes?)|portal(?!\s*imag)\w*|delayed|nephrogra\w*|spatphase"
    r"|tardi(?:v[aeo]|f|a))(?![a-z])"
    r"|造影|增[强強]|[强強]化|조영|对比剂|對比劑|造影剤|钆|[动動]脉期|[静靜]脉期|门脉期|門脈[相期]|延[迟遲]期|動脈相|静脈相|平衡相|遅延相|동맥기|정맥기|문맥기|지연기"
)
_NO_AGENT = re.compile(
    r"\W*(?:n|no|none|non|nil|nihil|n/?a|na|0|without|w/?o|wo|ohne|keine?s?|sans|aucun|sin|ninguno|senza|nessuno|sem|nenhum"
    r"|zonder|geen|bez|brak|нет|без|ing[ea]n|inget|ej(?:\s+given|\s+givet)?|nei|nej|ikke(?:\s+gitt|\s+givet)?|uten|utan|uden|ilman|yok|0\s*(?:ml|cc)|not\s+given|none\s+given|not\s+applicable|not\s+administered|saline|nacl|kochsalz\w*|water|wasser|eau|agua"
    r"|无|無|なし|無し|없음|未使用|生理盐水|水)?\W*"
)


_NOT_KNOWN = re.compile(
    r"\W*(?:unknown|unk|unspecified|not\s+(?:specified|known|recorded)|unbekannt|inconnue?|desconocid[oa]|desconhecid[oa]"
    r"|sconosciut[oa]|onbekend|не\s?известно|неизвестно|不明|不詳|不详|未知|불명)?\W*"
)


def said_of_contrast(text: str) -> frozenset[Contrast]:
    """Return what a text says: nothing, one of PRESENT and ABSENT, or both, which contradict each other.

    A text that was declared Latin-1 and holds GB18030, as some sites send it, is read as Chinese, too.
    """
    found: set[Contrast] = set()
    for reading in {text, _as_chinese(text)}:
        rest = _NO_MATTER.sub(" ", _BOTH.sub(" ", _plain(reading)))
        if not _IN_VEIN.search(rest) or _MOUTH_ONLY.search(rest):
            rest = _MOUTH_ONLY.sub(" ", rest)
        without = _ABSENT.sub(" ", _REFUSED.sub(" ", rest))
        if without != rest:
            found.add(Contrast.ABSENT)
        if _PRESENT.search(without):
            found.add(Contrast.PRESENT)
    return frozenset(found)


def is_empty_word(agent: str) -> bool:
    """Whether a Contrast/Bolus Agent that is written says nothing: signs alone, or a word for what nobody knows."""
    return "-" not in agent and _NOT_KNOWN.fullmatch(_plain(agent)) is not None


def said_of_agent(agent: str) -> Contrast | None:
    """Return what Contrast/Bolus Agent says of contrast in the vessels; None where it names one by mouth only."""
    plain = _plain(agent).strip()
    said = said_of_contrast(agent)
    if _NO_AGENT.fullmatch(plain) or Contrast.ABSENT in said:
        return Contrast.ABSENT
    if re.search(
        rf"{_BEFORE}(?:{_MOUTH}|gastro\w*|e-?z-?cat|telebrix\s+gastro|volumen|mannitol|(?:room\s+)?air|co2|doustn\w*){_AFTER}|口服|経口|경구",
        plain,
    ):
        return Contrast.PRESENT if _IN_VEIN.search(plain) else None
    return Contrast.PRESENT


def _plain(text: str) -> str:
    """In lower case, without accents on Latin letters, with words parted that are run together ("PreGd", "T1_POST")."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", text).replace("_", " "))
    bare = "".join(unicodedata.normalize("NFD", letter)[0] if ord(letter) < 0x250 else letter for letter in parted)
    return bare.casefold()


def _as_chinese(text: str) -> str:
    try:
        return text.encode("latin-1").decode("gb18030")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text
