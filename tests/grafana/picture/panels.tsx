/**
 * A panel's frames in, Grafana's own component of that kind of panel out. What the panel's JSON
 * says goes to the component as it is.
 */

import {
  type DataFrame,
  type FieldConfigSource,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  type TimeRange,
} from '@grafana/data';
import {
  BarGauge,
  BigValue,
  BigValueTextMode,
  Text,
  TimeSeries,
  useTheme2,
  VizRepeater,
} from '@grafana/ui';
// The table that Grafana's own table panel shows. Its interface may change with any version,
// which the lockfile pins.
import { TableNG } from '@grafana/ui/unstable';
import type { ComponentType } from 'react';
import { TIME_ZONE } from './fields';

/** What a component is given: frames, options, and the room for it in pixels. */
export interface Content {
  frames: DataFrame[];
  fieldConfig: FieldConfigSource;
  // Each kind of panel has other options; the component knows its own.
  options: any;
  timeRange: TimeRange;
  width: number;
  height: number;
}

// Half the width of an hour's label, which would be cut if the day ends soon after the hour.
const LABEL_PADDING = 18;

/** The kinds of panels that Grafana's libraries have a component for. */
export const KINDS: Record<string, ComponentType<Content>> = {
  bargauge: Bars,
  stat: Figure,
  table: Rows,
  timeseries: Graph,
};

/** Say in words why a panel is empty, in the middle of it. */
export function Note({ words }: { words: string }) {
  return (
    <div className="note">
      <Text color="secondary">{words}</Text>
    </div>
  );
}

function NoData({ fieldConfig }: Content) {
  return <Note words={fieldConfig.defaults.noValue ?? 'No data'} />;
}

function useFigures({ frames, fieldConfig, options }: Content) {
  return getFieldDisplayValues({
    data: frames,
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables: (text) => text,
    theme: useTheme2(),
    timeZone: TIME_ZONE,
  });
}

function Figure(content: Content) {
  const theme = useTheme2();
  const [figure, ...others] = useFigures(content);
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = content.options;
  return (
    <BigValue
      theme={theme}
      width={content.width}
      height={content.height}
      value={figure.display}
      colorMode={colorMode}
      graphMode={graphMode}
      justifyMode={justifyMode}
      // A figure that is alone needs no name.
      textMode={others.length === 0 ? BigValueTextMode.Value : textMode}
      disableWideLayout={!wideLayout}
    />
  );
}

function Bars(content: Content) {
  const theme = useTheme2();
  const figures = useFigures(content);
  const { width, height, options } = content;
  return (
    <VizRepeater
      source={content.frames}
      renderCounter={0}
      getValues={() => figures}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      width={width}
      height={height}
      orientation={options.orientation}
      minVizWidth={options.minVizWidth}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      renderValue={(bar) => (
        <BarGauge
          theme={theme}
          field={bar.value.field}
          value={bar.value.display}
          width={bar.width}
          height={bar.height}
          orientation={bar.orientation}
          alignmentFactors={bar.alignmentFactors}
          displayMode={options.displayMode}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
        />
      )}
    />
  );
}

function Rows(content: Content) {
  const { frames, options, width, height } = content;
  if (frames.length === 0) {
    return <NoData {...content} />;
  }
  return (
    <TableNG
      data={frames[options.frameIndex ?? 0]}
      width={width}
      height={height}
      sortBy={options.sortBy}
      noHeader={!options.showHeader}
      showTypeIcons={options.showTypeIcons}
      cellHeight={options.cellHeight}
      fieldConfig={content.fieldConfig}
      structureRev={1}
      // A picture cannot be scrolled: without this, only what is near the view is there.
      enableVirtualization={false}
      contentAwareWidthsEnabled
    />
  );
}

function Graph(content: Content) {
  const { frames, options, timeRange, width, height } = content;
  if (frames.length === 0) {
    return <NoData {...content} />;
  }
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone={TIME_ZONE}
      legend={options.legend}
      options={options}
    >
      {(builder) => {
        builder.setPadding([null, LABEL_PADDING, null, null]);
        return null;
      }}
    </TimeSeries>
  );
}
