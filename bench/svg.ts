/** A bar, or without a value the reason for that. */
export interface Bar {
  label: string;
  value: number | string;
  /** True to highlight a bar of DockerProxy. */
  accent: boolean;
}

export interface Chart {
  title: string;
  bars: Bar[];
  /** The text at the end of a bar. */
  format: (value: number) => string;
  /** The value of the longest possible bar; the largest value by default. */
  full?: number;
}

export interface Picture {
  title: string;
  /** Lines below the title. */
  subtitle: string[];
  charts: Chart[];
}

/** Both themes have their own background, so that the picture fits any page. */
const style = `
  text { font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-size: 20px; font-weight: 600; }
  .chart { font-size: 14px; font-weight: 600; }
  .muted { fill: #59636e; }
  .ground { fill: #ffffff; stroke: #d1d9e0; }
  .bar { fill: #afb8c1; }
  .accent { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .muted { fill: #9198a1; }
    .ground { fill: #0d1117; stroke: #3d444d; }
    .bar { fill: #59636e; }
    .accent { fill: #4493f8; }
  }
`;

const margin = 28;
const labelWidth = 205;
const barWidth = 170;
const valueWidth = 75;
const chartWidth = labelWidth + barWidth + valueWidth;
const gap = 40;
const rowHeight = 24;
const titleHeight = 34;

/** Bar charts, two beside each other, as an SVG file. */
export function drawPicture({ title, subtitle, charts }: Picture): string {
  const parts: string[] = [];
  let y = 64 + subtitle.length * 20 + 10;
  for (let at = 0; at < charts.length; at += 2) {
    const pair = charts.slice(at, at + 2);
    parts.push(...pair.map((chart, column) => drawChart(chart, margin + column * (chartWidth + gap), y)));
    y += Math.max(...pair.map(({ bars }) => titleHeight + bars.length * rowHeight)) + margin;
  }
  const width = 2 * (margin + chartWidth) + gap;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img">
<title>${escaped(title)}</title>
<style>${style}</style>
<rect class="ground" x="0.5" y="0.5" width="${width - 1}" height="${y - 1}" rx="8"/>
${write(margin, 40, title, 'title')}
${subtitle.map((line, at) => write(margin, 64 + at * 20, line, 'muted')).join('\n')}
${parts.join('\n')}
</svg>
`;
}

function drawChart({ title, bars, format, full = 0 }: Chart, x: number, y: number): string {
  const values = bars.flatMap(({ value }) => (typeof value === 'number' ? [value] : []));
  const scale = barWidth / Math.max(...values, full, Number.MIN_VALUE);
  const rows = bars.map(({ label, value, accent }, at) => {
    const top = y + titleHeight + at * rowHeight;
    const baseline = top + 13;
    const left = x + labelWidth;
    const name = write(x, baseline, label);
    if (typeof value === 'string') return name + write(left, baseline, value, 'muted');
    // The smallest value still has a visible bar; zero has no bar.
    const length = value === 0 ? 0 : Math.max(2, value * scale);
    const bar = `<rect class="${accent ? 'accent' : 'bar'}" x="${left}" y="${top}" width="${length.toFixed(1)}" height="17" rx="2"/>`;
    return name + bar + write(left + length + 6, baseline, format(value));
  });
  return [write(x, y + 16, title, 'chart'), ...rows].join('\n');
}

function write(x: number, y: number, text: string, kind?: string): string {
  const kindOf = kind ? ` class="${kind}"` : '';
  return `<text x="${x.toFixed(1)}" y="${y}"${kindOf}>${escaped(text)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
