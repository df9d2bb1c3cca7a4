/**
 * The page of one dashboard: reads `?board=NAME`, fetches NAME.json (the dashboard, and what
 * Prometheus answered to each of its queries), and puts each panel in its place.
 */

import {
  createTheme,
  type DataFrame,
  type DataTransformerConfig,
  dateTime,
  type FieldConfigSource,
  ThemeContext,
  type TimeRange,
} from '@grafana/data';
import { GlobalStyles, PanelChrome, Text } from '@grafana/ui';
import type { ReactNode } from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { shown, withPalette } from './fields';
import { type Answers, framesOf, type Target } from './frames';
import { KINDS, Note } from './panels';
import './page.css';

interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: Target[];
  transformations?: DataTransformerConfig[];
  fieldConfig: FieldConfigSource;
  options: object;
}

/** What __main__.py writes for the page. */
interface Input {
  board: { title: string; panels: Panel[] };
  /** The variables' names and what is chosen. */
  chosen: Record<string, string>;
  answers: Record<number, Answers>;
  began_at: number;
  ended_at: number;
  step_seconds: number;
}

// Grafana's own grid: 24 columns, cells of 30 pixels, 8 between them.
const COLUMNS = 24;
const CELL = 30;
const GAP = 8;
// Long enough for graphs to be drawn and icons to be fetched, after the last of the components.
const SETTLING_MILLISECONDS = 5000;
const WIDTH = document.documentElement.clientWidth - 2 * GAP;

const theme = createTheme({ colors: { mode: 'light' } });

function Themed({ children }: { children?: ReactNode }) {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {children}
    </ThemeContext.Provider>
  );
}

function place({ x, y, w, h }: Panel['gridPos']) {
  const column = (WIDTH + GAP) / COLUMNS;
  return {
    left: x * column,
    top: y * (CELL + GAP),
    width: w * column - GAP,
    height: h * (CELL + GAP) - GAP,
  };
}

function Placed(props: { panel: Panel; frames: DataFrame[]; timeRange: TimeRange }) {
  const { panel, frames, timeRange } = props;
  const position = place(panel.gridPos);
  if (panel.type === 'row') {
    return (
      <div className="placed heading" style={position}>
        <Text element="h3">{panel.title}</Text>
      </div>
    );
  }
  const Kind = KINDS[panel.type];
  return (
    <div className="placed" style={position}>
      <PanelChrome title={panel.title} width={position.width} height={position.height}>
        {(width, height) =>
          Kind ? (
            <Kind {...panel} {...{ frames, timeRange, width, height }} />
          ) : (
            <Note words={missing(panel.type)} />
          )
        }
      </PanelChrome>
    </div>
  );
}

function missing(kind: string): string {
  return `Grafana's libraries have no ${kind.replace('-', ' ')}: only a Grafana server shows it.`;
}

async function framesToShow(panel: Panel, input: Input): Promise<DataFrame[]> {
  if (!(panel.type in KINDS)) {
    return [];
  }
  const frames = framesOf(panel.targets ?? [], input.answers[panel.id], input.step_seconds);
  return shown(frames, panel.transformations ?? [], panel.fieldConfig, theme);
}

async function main() {
  const board = new URLSearchParams(location.search).get('board');
  const input: Input = await (await fetch(`${board}.json`)).json();
  const from = dateTime(1000 * input.began_at);
  const to = dateTime(1000 * input.ended_at);
  const timeRange = { from, to, raw: { from: 'now-24h', to: 'now' } };
  const panels = input.board.panels.map((panel) =>
    panel.type === 'timeseries' ? { ...panel, fieldConfig: withPalette(panel.fieldConfig) } : panel,
  );
  const frames = await Promise.all(panels.map((panel) => framesToShow(panel, input)));
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const root = createRoot(document.getElementById('page')!);
  // Grafana's components measure their texts, so the font must be there before them.
  flushSync(() => root.render(<Themed />));
  await Promise.all(['400 14px Inter', '500 14px Inter'].map((font) => document.fonts.load(font)));
  root.render(
    <Themed>
      <header>
        <Text element="h1">{input.board.title}</Text>
        {Object.entries(input.chosen).map(([name, value]) => (
          <Text key={name} color="secondary">
            {name}: {value}
          </Text>
        ))}
      </header>
      <main style={{ height: bottom * (CELL + GAP) }}>
        {panels.map((panel, index) => (
          <Placed key={panel.id} panel={panel} frames={frames[index]} timeRange={timeRange} />
        ))}
      </main>
    </Themed>,
  );
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MILLISECONDS));
  document.body.dataset.height = String(document.documentElement.scrollHeight);
}

void main();
