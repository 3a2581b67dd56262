import "@mantine/charts/styles.layer.css";
import { LineChart } from "@mantine/charts";
import { colorOf, OTHER_COLOR } from "@/theme/palette";
import type { ChartBucket, TokenRows } from "../rows";
import { CHART_HEIGHT, openAt, useAxes } from "./axes";
import { ChartHover } from "./ChartHover";

export default function TokensChart({
  rows,
  names,
  other,
  bucket,
  onOpen,
}: TokenRows & { other: string; bucket: ChartBucket; onOpen: (start: string) => void }) {
  const axes = useAxes(bucket);
  const series = names.map((name) => ({
    name,
    label: name,
    color: name === other ? OTHER_COLOR : colorOf(name),
  }));
  return (
    <LineChart
      h={CHART_HEIGHT}
      data={rows}
      dataKey="start"
      series={series}
      curveType="monotone"
      strokeWidth={1.5}
      withDots={false}
      withLegend
      legendProps={{ verticalAlign: "top", height: 28 }}
      gridAxis="x"
      strokeDasharray="0"
      gridColor="var(--tg-grid)"
      tickLine="none"
      lineProps={{ isAnimationActive: false }}
      lineChartProps={{ onClick: openAt(onOpen), style: { cursor: "pointer" } }}
      xAxisProps={{ tickFormatter: axes.tick, minTickGap: 28 }}
      yAxisProps={{ tickFormatter: axes.short, width: 48 }}
      tooltipProps={{
        content: ({ label, payload }) => (
          <ChartHover
            label={axes.label(label)}
            payload={payload}
            series={series}
            format={axes.exact}
          />
        ),
      }}
    />
  );
}
