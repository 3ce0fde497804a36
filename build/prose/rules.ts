/** What a rule finds in a text. */
export interface Finding {
  /** The words that the rule finds, as written. */
  readonly found: string;
  /** What to write instead. */
  readonly advice: string;
}

const WORDS_MAX = 25;

/** Beginnings that hide the subject of a sentence; a question may begin with them. */
const OPENINGS =
  /^(?:(?:for|of|in|at|by|with|to|on|from|after|until) )?(?:who|whoever|whosoever|whom|whose|what|whatever|where|wherever|whether)\b|^(?:of|whichever|which of|those (?:who|that)|all that|that (?:a|an|the) \w+ \w+ is)\b|^for how\b/i;

/** Phrases that are never written, and what to write instead. */
const NEVER: readonly (readonly [phrase: RegExp, advice: string])[] = [
  [/\bthere (?:is|are|was|were|be) (?:none|no|nothing|nobody)\b/i, 'say what is missing or unknown'],
  [/\bthere exists?\b|\bthere (?:is|are) those\b/i, 'name the subject'],
  [/\b(?:is|are|was|were) there (?:already|once|now|is)\b/i, 'say "is stored", "exists", or "occurs"'],
  [/\bwhere there (?:is|are)\b/i, 'name the condition with "if"'],
  [/\bwhat there (?:is|are)\b/i, 'name the thing'],
  [
    /\b(?:is|are|was|were|has|have|copies|takes|gives|finds|knows|needs|sends|gets|names) none\b/i,
    'negate the verb',
  ],
  [
    /\bnone of (?:its|the|their|these|those|them)\b|\bof none\b/i,
    'use "no" with the noun, or negate the verb',
  ],
  [
    /\b(?:is|are|was|were|be) (?:no|nothing|nobody)\b(?! (?:longer|more|less|later|such|one)\b)/i,
    'write "is not a"',
  ],
  [/\b(?:has|have|had) not (?:the|a|an|its|their|got)\b/i, 'write "does not have" or a verb'],
  [/, (?:\w+ )*neither[.;,]/i, 'write a whole sentence'],
  [/\banew\b/i, 'write "again" or "new"'],
  [/\bfor ever\b/i, 'write "forever" or "permanently"'],
  [/\b(?:nobody|everybody|no one|anybody|somebody)\b/i, 'name the subject'],
  [/\b(?:by|of|to|for|as|tells?|asks?|knows?|says?) who\b/i, 'name the subject'],
  [/\bno two\b/i, 'name the subject'],
  [/\bso many\b/i, 'state the number'],
  [/\b(?:is|are|was|were|be|been|being) told\b/i, 'use the active voice: tell, report, show'],
  [/^told\b|\bunless told\b|\btold (?:of|so)\b/i, 'write "called with", "reported", or "by default"'],
  [
    /\b(?:lead|leads|leading|led) (?:back |\w+ \w+ |\w+ )?to\b/i,
    'say what happens: point at, cause, result in',
  ],
  [/\b(?:come|comes|came|coming) back\b/i, 'write "return" or "recover"'],
  [/\b(?:give|gives|gave|given|giving) back\b/i, 'write "return" or "release"'],
  [/\bbe of use\b|\bof no use\b/i, 'write "help" or "is useful"'],
  [/\b(?:be|been|is|are|was|were) had\b/i, 'write "available" or "exists"'],
  [/\bin want of\b/i, 'write "lacks"'],
  [/\b(?:make|makes|made) use of\b/i, 'write "use"'],
  [/\bsuch an? thing\b|\bno such an?\b/i, 'name the thing'],
  [/\b(?:says?|said) nothing of\b/i, 'write "does not state"'],
  [/\bneither (?:is|are|was|were|does|do|has|have)\b(?=[^?]*\.$)/i, 'write a whole sentence'],
  [/\bgets? to know\b/i, 'write "learn"'],
  [/\blets? through\b|\b(?:is|are|was|were) let through\b/i, 'write "accept" or "allow"'],
  [/\bput(?:s|ting)? together\b/i, 'write "create", "join", or "combine"'],
  [/\bhow it stands\b/i, 'write "status"'],
  [/\bmeans? no good\b/i, 'write "hostile"'],
  [/\b(?:take|takes|took|taking) part\b/i, 'write "participate", or name the action'],
  [/\bwhat (?:comes|came|is coming)\b/i, 'write "the response" or "the received bytes"'],
  [/\bmay begin\b/i, 'write "may start" or "can start"'],
  [/\bleft out\b/i, 'write "skipped" or "omitted"'],
  [/\band (?:longer|on)\b(?= *(?:[.,;]|$))/i, 'state the limit'],
  [/\bhangs?\b/i, 'write "is unresponsive" or "stalls"'],
  [/^it takes\b/i, 'name the subject: "Requires …", "Resolving X took …"'],
  [/^\w+ is good\b/i, 'name the subject'],
  [/\blending\b/i, 'state the cost'],
  [/\b(?:EndTurn|whenGone|punctual|crew|vault|companions|tally)\b/, 'use the word of the glossary'],
];

/** Finds in a text what english.md forbids: openings, phrases, and sentences of more than 25 words. */
export function check(text: string): Finding[] {
  const sentences = text.split(/(?<=[.!?]) /);
  return sentences.flatMap((sentence) => [...opening(sentence), ...phrases(sentence), ...length(sentence)]);
}

function opening(sentence: string): Finding[] {
  const [found] = OPENINGS.exec(sentence.replace(/^[^\p{L}\p{N}`]+/u, '')) ?? [];
  if (found === undefined || sentence.endsWith('?')) return [];
  return [{ found: `${found} …`, advice: 'begin with the subject' }];
}

function phrases(sentence: string): Finding[] {
  return NEVER.flatMap(([phrase, advice]) => {
    const [found] = phrase.exec(sentence) ?? [];
    return found === undefined ? [] : [{ found, advice }];
  });
}

function length(sentence: string): Finding[] {
  const words = sentence.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  if (words.length <= WORDS_MAX) return [];
  return [
    {
      found: `${words.slice(0, 6).join(' ')} …`,
      advice: `split ${words.length} words; ${WORDS_MAX} are the limit`,
    },
  ];
}
