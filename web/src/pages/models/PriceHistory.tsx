import { Button, Skeleton, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconPlus } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import type { Model, PriceVersion } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { Meaning } from "@/components/Meaning";
import { USAGE_CLASSES } from "@/components/useClassName";
import { useLocale } from "@/i18n/useLocale";
import { exactMoney } from "@/lib/money";
import { exactTime } from "@/lib/time";
import { NewPrice } from "./NewPrice";
import classes from "./PriceHistory.module.css";

type Phase = "coming" | "inForce" | "past";

/** Newest first: what is to come, the one in force, then what was. */
function phases(versions: PriceVersion[], now: number): Phase[] {
  const current = versions.findIndex(({ valid_from }) => Date.parse(valid_from) <= now);
  return versions.map((_, index) => {
    if (current < 0 || index < current) return "coming";
    return index === current ? "inForce" : "past";
  });
}

/** Prices are dated and never changed; a new one follows the old. */
export function PriceHistory({ model }: { model: Model }) {
  const { t } = useTranslation("models");
  const may = useMay();
  const [adding, { open, close }] = useDisclosure(false);
  const history = api.useQuery("get", "/admin/v1/models/{id}/prices", {
    params: { path: { id: model.id } },
  });
  if (history.error) {
    return <ErrorState error={history.error} onRetry={() => void history.refetch()} />;
  }
  if (!history.data) return <Skeleton height={72} />;
  const versions = history.data.data;
  const phase = phases(versions, Date.now());
  return (
    <Stack gap="sm">
      {may("prices.write") ? (
        <div>
          <Button variant="default" size="xs" leftSection={<IconPlus size={14} />} onClick={open}>
            {t("newPrice")}
          </Button>
        </div>
      ) : null}
      {versions.length === 0 ? (
        <Text fz="sm" c="dimmed">
          {t("noPrice")}
        </Text>
      ) : null}
      {versions.map((version, index) => (
        <Version key={version.id} version={version} phase={phase[index] ?? "past"} />
      ))}
      <NewPrice model={model} latest={versions[0] ?? null} opened={adding} onClose={close} />
    </Stack>
  );
}

const TONES = { coming: "info", inForce: "good", past: "quiet" } as const;

function Version({ version, phase }: { version: PriceVersion; phase: Phase }) {
  const { t } = useTranslation(["models", "common"]);
  const locale = useLocale();
  const priced = USAGE_CLASSES.filter((name) => version.prices[name]);
  return (
    <section className={classes.version}>
      <header className={classes.head}>
        <Meaning tone={TONES[phase]}>{t(`phase.${phase}`)}</Meaning>
        <span className={classes.when}>
          {t("from", { time: exactTime(version.valid_from, locale) })}
        </span>
      </header>
      <dl className={classes.prices}>
        {priced.map((name) => (
          <div key={name}>
            <dt>{t(`common:usageClass.${name}`)}</dt>
            <dd>
              {exactMoney(
                { amount: version.prices[name] ?? "0", currency: version.currency },
                locale,
              )}
            </dd>
          </div>
        ))}
      </dl>
      <footer className={classes.foot}>{t("setBy", { name: version.created_by })}</footer>
    </section>
  );
}
