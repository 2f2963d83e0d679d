// Times, sizes and names in words. What comes from certificates is text of strangers: it is isolated (<bdi>), so that
// its right-to-left marks do not turn the page around.
import { now } from '../clock';
import { language, texts } from '../texts';

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86400],
  ['month', 30 * 86400],
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
];

export function relative(at: number, from: number): string {
  const seconds = Math.round((at - from) / 1000);
  const size = Math.abs(seconds);
  // Days up to three months: "in 43 days" says more than "in 1 month".
  const unit = size >= 90 * 86400 ? UNITS.find((each) => size >= each[1]) : UNITS.find((each) => each[1] <= 86400 && size >= each[1]);
  const [name, length] = unit ?? ['second', 1];
  const format = new Intl.RelativeTimeFormat(texts.value.language.locale, { numeric: 'auto' });
  return format.format(Math.trunc(seconds / length), name);
}

export function moment(at: string): string {
  return new Intl.DateTimeFormat(texts.value.language.locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(at));
}

export function day(at: string): string {
  return new Intl.DateTimeFormat(texts.value.language.locale, { dateStyle: 'medium' }).format(new Date(at));
}

// The moment in the reader's zone, how long ago it is, and in the title as the server has it. What has happened is never
// in the future, whatever the two clocks say; `ahead`: what is still to come may be.
export function Ago({ at, ahead }: { at: string | null | undefined; ahead?: boolean }) {
  if (!at) return <span class="quiet">{texts.value.ui.never}</span>;
  const when = Date.parse(at);
  return (
    <time dateTime={at} title={`${moment(at)} (${at})`}>
      {relative(ahead ? when : Math.min(when, now.value), now.value)}
    </time>
  );
}

// When a device was here last: of many only the day is kept.
export function Seen({ at, to }: { at: string | null; to: 'day' | 'second' | null }) {
  if (!at || to !== 'day') return <Ago at={at} />;
  const days = Math.min(0, Math.floor(Date.parse(at) / 86_400_000) - Math.floor(now.value / 86_400_000));
  const words = new Intl.RelativeTimeFormat(texts.value.language.locale, { numeric: 'auto' }).format(days, 'day');
  return (
    <time dateTime={at.slice(0, 10)} title={at.slice(0, 10)}>
      {words}
    </time>
  );
}

export function Day({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="quiet">{texts.value.ui.unknown}</span>;
  return (
    <time dateTime={at} title={at}>
      {day(at)}
    </time>
  );
}

// When a certificate ends: the day, and in words where that is near or over.
export function Ends({ at }: { at: string | null | undefined }) {
  if (!at) return <span class="quiet">{texts.value.ui.unknown}</span>;
  const left = Date.parse(at) - now.value;
  const near = left < 30 * 86_400_000;
  const tone = left < 0 ? 'tone-bad' : near ? 'tone-warn' : '';
  return (
    <span class="ends">
      <Day at={at} />
      {near && <span class={`ends-words ${tone}`}>{relative(Date.parse(at), now.value)}</span>}
    </span>
  );
}

export function duration(seconds: number): string {
  const parts: [string, string, number][] = [
    ['d', '天', 86400],
    ['h', '小时', 3600],
    ['min', '分钟', 60],
    ['s', '秒', 1],
  ];
  const zh = language.value === 'zh';
  let left = Math.max(0, Math.round(seconds));
  const words: string[] = [];
  for (const [en, chinese, length] of parts) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count > 0 && words.length < 2) words.push(`${count} ${zh ? chinese : en}`);
    else if (words.length > 0) break;
  }
  return words.join(' ') || `0 ${zh ? '秒' : 's'}`;
}

export function bytes(count: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let size = count;
  while (size >= 1000 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${size >= 100 || at === 0 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

export function count(value: number): string {
  return texts.value.ui.number(value);
}

// A name that a stranger chose. What steers the text, cannot be seen, or looks like another blank is shown by its number:
// two names that differ look different.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/gu;

export function visible(text: string): string {
  const by_number = (mark: string) => {
    const hex = (mark.codePointAt(0) ?? 0).toString(16);
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`;
  };
  // Of blanks in a row the first one is seen, and none at either end.
  return text
    .replace(UNSEEN, by_number)
    .replace(/^ +| +$/g, (blanks) => '\\u0020'.repeat(blanks.length))
    .replace(/ {2,}/g, (blanks) => ` ${'\\u0020'.repeat(blanks.length - 1)}`);
}

// The other way: what visible() shows can be searched for.
export function as_written(shown: string): string {
  return shown.replace(/\\u(?:\{([0-9a-f]{5,6})\}|([0-9a-f]{4}))/gi, (whole, long: string | undefined, short: string | undefined) => {
    const code = parseInt(long ?? short ?? '', 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

export function Name({ children }: { children: string | null | undefined }) {
  if (!children) return <span class="quiet">–</span>;
  return <bdi class="name">{visible(children)}</bdi>;
}

// An id or a serial: its beginning, the whole in the title.
export function Short({ id, digits = 12 }: { id: string; digits?: number }) {
  return (
    <span class="mono" title={id}>
      {id.length > digits ? `${id.slice(0, digits)}…` : id}
    </span>
  );
}

// Serials and fingerprints in pairs would be long: the whole, breaking anywhere.
export function Whole({ id }: { id: string }) {
  return <span class="mono breaks">{id}</span>;
}

// The common name in a printed subject. A value may hold what looks like another part, in quotation marks or behind a
// backslash; where it is not clear which name is meant, the whole subject is the name.
export function cn_of(subject: string): string {
  const parts: string[] = [];
  let part = '';
  let quoted = false;
  for (let at = 0; at < subject.length; at += 1) {
    const mark = subject[at] ?? '';
    if (mark === '\\') {
      part += mark + (subject[at + 1] ?? '');
      at += 1;
      continue;
    }
    if (mark === '"') quoted = !quoted;
    if (!quoted && (mark === ',' || mark === '+')) {
      parts.push(part);
      part = '';
    } else part += mark;
  }
  parts.push(part);
  const names = parts.flatMap((each) => /^\s*CN\s*=\s*(.*?)\s*$/s.exec(each)?.slice(1) ?? []);
  // OpenSSL puts a value in quotation marks where it holds what else means something.
  return names.length === 1 && names[0] ? names[0].replace(/^"(.*)"$/s, '$1') : subject;
}

// A moment so long ago, as the API takes it; to the minute, so that a question stays the same while one looks.
export function utc_ago(seconds: number): string {
  return new Date(Math.floor((Date.now() - seconds * 1000) / 60_000) * 60_000).toISOString().replace('.000Z', 'Z');
}

export const AGES: Record<string, number> = { '1h': 3600, '24h': 86_400, '168h': 604_800 };
