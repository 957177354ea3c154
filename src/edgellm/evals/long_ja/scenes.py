"""Templates of short passages: records of an office or a factory, and prose about a town.

A passage takes one sentence from each of its steps, all about the same people and things. Every sentence has places to
fill, so that hundreds of thousands of different ones can be made and none need be said twice.
"""

from __future__ import annotations

from collections.abc import Sequence

Scene = Sequence[Sequence[str]]

MEETING: Scene = (
    (
        "{date}の{section}の会議では、{topic}が議題になった。",
        "{date}、{section}は{place}の会議室で{topic}について話し合った。",
        "{topic}をめぐり、{section}の打ち合わせが{date}の{time}から開かれた。",
        "{section}の{name}さんの求めで、{date}に{topic}を話し合う場が設けられた。",
    ),
    (
        "{name}さんは、この{small}か月ほどで{reason}ことが響いていると述べた。",
        "出席した{small}人のうち{name}さんが、{reason}ためだと説明した。",
        "冒頭で{name}さんから、{reason}という事情が報告された。",
        "{name}さんの資料によれば、{reason}日が先月だけで{small}日あった。",
    ),
    (
        "話し合いの結果、{name2}さんが中心となり、{remedy}ことになった。",
        "{remedy}という{name2}さんの案に、反対する人はいなかった。",
        "当面は{remedy}こととし、{small}週間後に{name2}さんが結果を報告する。",
        "{name2}さんは、{remedy}だけでも違うはずだと話した。",
    ),
)
DELIVERY: Scene = (
    (
        "{firm}に頼んでいた{goods}{count}個が、{date}の{time}に届いた。",
        "{date}、{place}の倉庫に{goods}が{count}個運び込まれた。",
        "{goods}の在庫が少なくなったため、{section}は{firm}に{count}個を注文した。",
    ),
    (
        "受け取った{name}さんが数えると、納品書の数とは{small}個の違いがあった。",
        "検品にあたった{name}さんは、{small}箱を開けて傷がないことを確かめた。",
        "荷下ろしは{name}さんら{small}人で行い、{minutes}分ほどで終わった。",
        "{name}さんの話では、{reason}ため到着が{small}日遅れたという。",
    ),
    (
        "残りは{place2}の{facility}に移し、{section2}が使うことにした。",
        "{goods}の置き場所は、{section2}の{name2}さんが図にして貼り出した。",
        "次の注文は{section2}の分と合わせ、{month}月の半ばに出す予定である。",
    ),
)
INSPECTION: Scene = (
    (
        "{place}の{facility}で、{date}に{equipment}の点検があった。",
        "{date}の{time}、{equipment}から普段と違う音がすると{name}さんが知らせてきた。",
        "{section}の{name}さんは、{place}{facility}の{equipment}を{minutes}分かけて見て回った。",
    ),
    (
        "{firm}の担当者は、{small}年前に替えた部品がすり減っていると説明した。",
        "{name2}さんが記録を調べると、前に手を入れてから{count}日がたっていた。",
        "調べたところ、{reason}時期に油の補充が{small}回抜けていたことが分かった。",
        "{equipment}の温度は{small}度ほど上がったが、{name2}さんが止めるほどではないと判断した。",
    ),
    (
        "{section}では今後、{equipment}について{remedy}ことにしている。",
        "部品は{firm2}から取り寄せ、{month}月中に{name2}さんが立ち会って交換する。",
        "{name2}さんは写真を{small}枚撮り、{section2}にも送った。",
    ),
)
COUNTER: Scene = (
    (
        "{weather}{date}、{section}の窓口には{count}人が訪れた。",
        "{date}、{place}に住む人から{topic}について電話があった。",
        "{section}の{name}さんによると、{topic}についての相談は先月だけで{count}件あった。",
    ),
    (
        "待ち時間は最も長いときで{minutes}分になり、{name}さんが番号札の配り方を変えた。",
        "応対した{name}さんは、{minutes}分かけて話を聞き、控えを{small}部渡した。",
        "{name}さんは即答を避け、{section2}の{name2}さんに確かめてから折り返すと約束した。",
    ),
    (
        "似た問い合わせが続くので、{section}では{remedy}ことを考えている。",
        "その後、{name2}さんが調べた内容を{small}日後に書面で送った。",
        "{name2}さんは、同じことで困る人が{place}にほかにもいるのではないかと案じている。",
    ),
)
TRAINING: Scene = (
    (
        "{date}から{small}日間、{section}の新人{small2}人が{place}で研修を受けた。",
        "{section}に移ってきた{name}さんは、{date}に{equipment}の扱い方を習った。",
        "{topic}をテーマにした勉強会が、{date}の{time}に{place}の{facility}で開かれた。",
    ),
    (
        "講師の{name2}さんは、{reason}ときの実例を{small}つ挙げた。",
        "午前は{name2}さんの話を聞き、午後は{goods}を使って手を動かした。",
        "{name2}さんが配った資料は{count}ページもあり、読み終えるのに{minutes}分かかった。",
    ),
    (
        "最後に書いた感想には、職場に戻ったら{remedy}という声が{small}人分あった。",
        "{name}さんは、{section2}の仕事の進め方にも学ぶところが多いと言った。",
        "次の回は{month}月に、{firm}の工場を見せてもらうことになっている。",
    ),
)
VISIT: Scene = (
    (
        "{date}、{firm}の{name}さんが{section}を訪ねてきた。",
        "{section}の{name}さんは{date}、{place}にある{firm}の事業所へ出向いた。",
        "{weather}{date}の{time}、{firm}との打ち合わせが{place}で行われた。",
    ),
    (
        "用件は{goods}の納め方で、{minutes}分ほどのやり取りで話がまとまった。",
        "先方からは、{reason}ため値段を{small}パーセント上げたいという申し出があった。",
        "{equipment}の見積もりについて、{name2}さんが{small}か所の書き直しを頼んだ。",
    ),
    (
        "帰りに{name2}さんは{scenery}の前を通り、{small}枚の写真を撮ったそうだ。",
        "返事は{section2}とも相談し、{month}月の初めまでに{name2}さんが伝える。",
        "契約の期間は{small}年とし、その間に{remedy}ことも申し合わせた。",
    ),
)
TOWN: Scene = (
    (
        "{place}の{scenery}は、{name}さんが子どものころから変わらないという。",
        "{weather}{date}、{name}さんは{scenery}まで{minutes}分の道のりを歩いた。",
        "{scenery}のそばで暮らして{small2}年になる{name}さんは、朝の散歩を欠かさない。",
    ),
    (
        "{place}から{place2}へ抜ける道は細く、すれ違う車は{minutes}分に一台ほどしかない。",
        "途中の{facility}で{name2}さんに会い、{minutes}分も立ち話をしたらしい。",
        "あたりには{month}月になると、{count}羽を超える鳥が集まってくる。",
    ),
    (
        "{name2}さんは、{scenery}を描いた絵を{small}枚、{facility}に飾ってもらった。",
        "{place2}に越してからも{name2}さんは、{month}月には決まって手紙を書いている。",
        "近所の{name2}さんと{small}人で、{event}の相談をする日も多い。",
    ),
)
EVENT: Scene = (
    (
        "{place}の{facility}で{date}、{event}が開かれ、{count}人が集まった。",
        "{event}の準備のため、{name}さんら{small}人が{date}の{time}に{facility}へ集まった。",
        "{month}月の{event}は、{weather}日にもかかわらず{count}人でにぎわった。",
    ),
    (
        "受付を任された{name}さんは、{goods}を{count}個用意して待った。",
        "{firm}から{goods}{count}個の寄付があり、{name}さんが礼状を書いた。",
        "{reason}ため始まりが{minutes}分遅れたが、{name}さんの話で場は和んだ。",
    ),
    (
        "片づけは{section}の{name2}さんも手伝い、{minutes}分で終わった。",
        "来年の{event}では{remedy}ことを、{name2}さんが早くも提案している。",
        "{place2}から来た{name2}さんは、次は{small}人の友人を連れてくると話していた。",
    ),
)
NOTICE: Scene = (
    (
        "{section}からのお知らせによれば、{facility}の利用時間が{month}月から{minutes}分延びる。",
        "{date}付の通知で、{section}は{goods}の申し込み方法を改めると伝えた。",
        "{place}の{facility}は、{date}から{small}日間、{equipment}の工事のため休みになる。",
    ),
    (
        "理由は、{reason}年が{small}年続いたことにあると{name}さんは言う。",
        "申し込みは{name}さんが窓口となり、{count}人に達したところで締め切る。",
        "急ぐ人は、{place2}にある{facility2}を{time}まで使うことができる。",
    ),
    (
        "詳しいことは、{section2}の{name2}さんが{month}月の集まりで説明する。",
        "{name2}さんは、回覧板にも{small}枚の案内を挟んでおくそうだ。",
        "なお、{section2}では{goods}を{count}個まで無料で貸し出している。",
    ),
)
REPORT: Scene = (
    (
        "{section}がまとめた{month}月の報告には、{topic}についての項目が{small}つある。",
        "{name}さんの書いた{topic}の報告書は、全部で{count}ページになった。",
        "{date}に出された{section}の月報は、{topic}に{small}ページを割いている。",
    ),
    (
        "それによると、{place}での件数は前の年より{count}件増えている。",
        "表の{small}段目には、{firm}に支払った額が{count}千円と記されている。",
        "{name2}さんは余白に、{reason}ためではないかと書き込んだ。",
    ),
    (
        "末尾では、{section2}と力を合わせて{remedy}ことを勧めている。",
        "{name2}さんの意見を入れ、{month}月の分からは図を{small}つ加える。",
        "写しは{section2}の棚に{small}年間置かれ、{name2}さんが管理する。",
    ),
)
SCENES: Sequence[Scene] = (
    MEETING, DELIVERY, INSPECTION, COUNTER, TRAINING, VISIT, TOWN, EVENT, NOTICE, REPORT,
)  # fmt: skip
