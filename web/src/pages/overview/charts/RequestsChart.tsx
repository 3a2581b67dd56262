import "@mantine/charts/styles.layer.css";
import { BarChart } from "@mantine/charts";
import { useTranslation } from "react-i18next";
import { categorical } from "@/theme/tokens";
import type { ChartBucket, RequestRow } from "../rows";
import { CHART_HEIGHT, openAt, useAxes } from "./axes";
import { ChartHover } from "./ChartHover";

const [BLUE, , , , , VERMILLION] = categorical;

export default function RequestsChart({
  rows,
  bucket,
  onOpen,
}: {
  rows: RequestRow[];
  bucket: ChartBucket;
  onOpen: (start: string) => void;
}) {
  const { t } = useTranslation("overview");
  const axes = useAxes(bucket);
  const series = [
    { name: "ok", label: t("seriesOk"), color: BLUE },
    { name: "failed", label: t("seriesFailed"), color: VERMILLION },
  ];
  return (
    <BarChart
      h={CHART_HEIGHT}
      data={rows}
      dataKey="start"
      type="stacked"
      series={series}
      withLegend
      legendProps={{ verticalAlign: "top", height: 28 }}
      gridAxis="x"
      strokeDasharray="0"
      gridColor="var(--tg-grid)"
      tickLine="none"
      maxBarWidth={22}
      barProps={{ isAnimationActive: false }}
      barChartProps={{ onClick: openAt(onOpen), style: { cursor: "pointer" } }}
      xAxisProps={{ tickFormatter: axes.tick, minTickGap: 28 }}
      yAxisProps={{ tickFormatter: axes.short, width: 48, allowDecimals: false }}
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
