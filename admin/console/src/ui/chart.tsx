// A small live chart over the last hour. uPlot draws on a canvas; the figures stand beside it as text, for eyes that do
// not see it and for those that want the number.
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { texts } from '../texts';

export interface Series {
  name: string;
  values: (number | null)[];
}

interface ChartProps {
  title: string;
  at: number[]; // Unix seconds
  series: Series[];
  words: (value: number) => string;
}

const HEIGHT = 132;
const HOUR = 3600;
// Charts of one page share the cursor: a peak in one is seen in the others.
const together = uPlot.sync('overview');

function ink(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Grows when the system goes from light to dark: the canvas has to be drawn anew.
function useScheme(): boolean {
  const [dark, set_dark] = useState(matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const told = () => set_dark(media.matches);
    media.addEventListener('change', told);
    return () => media.removeEventListener('change', told);
  }, []);
  return dark;
}

export function Chart({ title, at, series, words }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const [spot, set_spot] = useState<number | null>(null);
  const id = useId();
  const dark = useScheme();
  const names = series.map((each) => each.name).join('|');
  const t = texts.value;

  useEffect(() => {
    const target = box.current;
    if (!target) return;
    const line = ink('--line');
    const quiet = ink('--ink-quiet');
    const axis = { stroke: quiet, font: '11px system-ui, sans-serif', ticks: { show: false }, grid: { stroke: line, width: 1 } };
    const made = new uPlot(
      {
        width: target.clientWidth,
        height: Math.max(HEIGHT, target.clientHeight),
        legend: { show: false },
        cursor: { y: false, points: { size: 5 }, drag: { x: false, y: false }, sync: { key: together.key } },
        scales: {
          // The hour, or what there is of it, ten minutes at least.
          x: { range: (_, first, last) => [Math.max(last - HOUR, Math.min(first, last - 600)), last] },
          y: { range: (_, __, max) => [0, max > 0 ? max * 1.12 : 1] },
        },
        axes: [
          { ...axis, grid: { show: false }, size: 22, gap: 4, space: 70, values: (_, marks) => marks.map((mark) => clock(mark)) },
          { ...axis, size: 50, gap: 6, space: 36, values: (_, marks) => once(marks.map(words)) },
        ],
        series: [
          {},
          ...series.map((each, index) => {
            const stroke = ink(`--series-${index + 1}`);
            return { label: each.name, stroke, width: 1.6, points: { show: false }, ...(series.length === 1 ? { fill: ink('--series-fill') } : {}) };
          }),
        ],
        hooks: { setCursor: [(self) => set_spot(self.cursor.idx ?? null)] },
      },
      data_of(at, series),
      target,
    );
    plot.current = made;
    const wide = new ResizeObserver(() => {
      if (target.clientWidth > 0) made.setSize({ width: target.clientWidth, height: Math.max(HEIGHT, target.clientHeight) });
    });
    wide.observe(target);
    return () => {
      wide.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [dark, names, t.language.locale]);

  useEffect(() => {
    plot.current?.setData(data_of(at, series));
  }, [at, series]);

  const shown = spot ?? at.length - 1;
  const says = series
    .map((each) => {
      const last = each.values[each.values.length - 1] ?? 0;
      const most = each.values.reduce<number>((top, value) => Math.max(top, value ?? 0), 0);
      return t.overview.chart_says(each.name, words(last), words(most));
    })
    .join(' ');
  return (
    <figure class="chart" aria-labelledby={id}>
      <figcaption id={id}>
        <span class="chart-title">{title}</span>
        <span class="out-of-sight">{says}</span>
      </figcaption>
      <ul class="legend" aria-hidden="true">
        {series.map((each, index) => (
          <li key={each.name} class={`key-${index + 1}`}>
            <span class="legend-name">{each.name}</span>
            <span class="legend-value">{words(each.values[shown] ?? 0)}</span>
          </li>
        ))}
        {spot !== null && at[spot] !== undefined && <li class="legend-when">{clock(at[spot], true)}</li>}
      </ul>
      <div class="plot" ref={box} aria-hidden="true" />
    </figure>
  );
}

// Of marks that read alike one is said: the lowest of those like the first, the highest of the others.
function once(marks: string[]): string[] {
  return marks.map((mark, index) => ((mark === marks[0] ? index === 0 : marks.lastIndexOf(mark) === index) ? mark : ''));
}

function data_of(at: number[], series: Series[]): uPlot.AlignedData {
  return [at, ...series.map((each) => each.values)];
}

function clock(seconds: number, to_the_second = false): string {
  const style: Intl.DateTimeFormatOptions = to_the_second
    ? { hour: '2-digit', minute: '2-digit', second: '2-digit' }
    : { hour: '2-digit', minute: '2-digit' };
  return new Intl.DateTimeFormat(texts.peek().language.locale, { ...style, hour12: false }).format(new Date(seconds * 1000));
}
