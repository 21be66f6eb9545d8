"""Texts for tests of the search."""

from __future__ import annotations

from hypothesis import strategies as st

# Characters that clients write, and that are hard to split: letters with marks, joiners, flags, runs, symbols, code.
PIECES = (
    "aZ9_-./+#: \n\tß€°─│éİıŁ\u0301\u0323\u200d\u200b\ufe0f🚀👍🏽🇩🇪👩北京ガが\u3099ﾊﾞ한\u1100\u1161\u11a8"
    "ก็\u0e33हि्مَ\u0640שָ½²₂™℃①ﬃ\x1f\x02\0\U000e0067\ufffe"
)
TEXT = st.one_of(st.text(max_size=60), st.text(st.sampled_from(PIECES), max_size=40))

# A text, and what a person would pick out of it.
CORPUS = {
    "Zoë's résumé is naïve; Ångström, Łódź, smørrebrød": "Zoe résumé resume naive ANGSTROM lodz smorrebrod",
    "İstanbul'da ışık, ọ̀rọ̀ àti x̂ŷ": "İstanbul istanbul ışık isik ọ̀rọ̀ oro x̂ŷ xy",
    "Die Straße, GROẞE Füße; Schlüssel": "strasse Straße STRASSE große grosse fusse Schlüssel",
    "Очередь платежей переполнена: Ёлкин": "очередь ПЛАТЕЖЕЙ елкин Ёлкин",
    "Ο Σίσυφος και οι πληρωμές": "σισυφος ΣΊΣΥΦΟΣ Σίσυφος πληρωμες πληρωμές",
    "مُحَمَّد يعمل في القاهرة، محـــمود": "محمد مُحَمَّد القاهرة محمود محـــمود",
    "שָׁלוֹם לכולם, התור מלא": "שלום שָׁלוֹם התור מלא",
    "भुगतान की क़तार भरी हुई है": "भुगतान क़तार भरी",
    "สวัสดีชาวโลก คิวเต็มแล้ว": "สวัสดี ชาวโลก โลก คิวเต็ม คิว แล้ว",
    "ຄິວເຕັມແລ້ວ": "ຄິວ ເຕັມ",
    "ជំរាបសួរ​ពិភពលោក": "ពិភពលោក ជំរាបសួរ",
    "我在北京工作，支付队列已满": "北京 京 工作 我 支付队列 队列 已满 我在北京工作",
    "東京タワーでキューがいっぱい": "東京 タワー 東京タワー キュー いっぱい が",
    "ﾊﾞｽ停 データベース": "バス ﾊﾞｽ データベース ベース",
    "우리는 서울에서 일한다": "서울 서울에서 일한다 우리 울",
    "deploy🚀 done ✅ok 😀😀 👍🏽 👩‍💻 ❤️": "deploy 🚀 deploy🚀 done ✅ ok ✅ok 😀 😀😀 👍 👍🏽 👩‍💻 👩 ❤ ❤️",
    "flags 🇩🇪🇫🇷 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈": "🇩🇪 🇫🇷 🇩🇪🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈 🌈",
    "20°C, 5€ each: Windows® and Java™ at 3 × 4 → 12": "20 20°C C ° 5€ 5 Windows windows® Java × → 12",
    "│queue│full│\n├─────┼────┤\n│ 17 │ 3 │": "queue full │queue│full│ │ 17",
    "foo.bar.baz(snake_case, kebab-case, camelCase)": "foo foo.bar.baz bar.baz snake_case snake kebab-case camelcase",
    "C++ and C# on .NET; a+b": "C++ C# .net net a+b",
    "ERR_404 from 10.0.0.1:8080 in /var/log/x.log": "ERR_404 404 err 10.0.0.1 10.0.0.1:8080 /var/log/x.log x.log log",
    "mail root@db-7.example.com, see https://example.com/a?b=c#d": "root root@db-7.example.com db-7 example.com"
    " https://example.com/a?b=c#d a?b=c",
    "2026-01-31T09:30:00.000Z v1.2.3 sha256:9f86d081884c": "2026-01-31 09:30:00 v1.2.3 1.2.3 9f86d081884c sha256",
    "Ｆｕｌｌ　ｗｉｄｔｈ ½ Ⅷ ﬁle H₂O": "full width ½ viii file H2O h₂o",
    "blob " + "A1b2" * 2_000: "blob " + "A1b2" * 2_000,
}
CORPUS["all of it\n" * 300 + "\n".join(CORPUS)] = "ışık Σίσυφος محمد 北京 タワー 서울 👩 🇫🇷 C++ 404"
