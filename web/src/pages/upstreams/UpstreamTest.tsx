import { Button, Group, Switch, Text, TextInput } from "@mantine/core";
import { IconPlugConnected } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "@/api/client";
import { useModels } from "@/api/lists";
import type { TestReport, Upstream } from "@/api/types";
import { ErrorState } from "@/components/ErrorState";
import { Note, ToneIcon } from "@/components/Meaning";
import { duration } from "@/lib/numbers";
import { sentence } from "@/lib/words";
import classes from "./UpstreamTest.module.css";

/** Walks the way to the provider layer by layer and says where it ends, and what to do about it. */
export function UpstreamTest({ upstream }: { upstream: Upstream }) {
  const { t } = useTranslation(["upstreams", "common"]);
  const models = useModels();
  const routed = models.data?.data
    .flatMap(({ targets }) => targets)
    .find(({ upstream_id }) => upstream_id === upstream.id)?.upstream_model;
  const [model, setModel] = useState("");
  const [stream, setStream] = useState(false);
  const test = api.useMutation("post", "/admin/v1/upstreams/{id}:test");

  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          test.mutate({
            params: { path: { id: upstream.id } },
            body: { model: model.trim() || null, stream },
          });
        }}
      >
        <Group align="flex-end" gap="sm">
          <TextInput
            label={t("test.model")}
            placeholder={routed ?? t("test.noModel")}
            value={model}
            flex="1 1 200px"
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => setModel(event.currentTarget.value)}
          />
          <Switch
            label={t("test.stream")}
            checked={stream}
            pb={8}
            onChange={(event) => setStream(event.currentTarget.checked)}
          />
          <Button
            type="submit"
            variant="light"
            data-testid="test"
            leftSection={<IconPlugConnected size={16} />}
            loading={test.isPending}
          >
            {t("test.do")}
          </Button>
        </Group>
      </form>
      <Text fz="xs" c="dimmed" mt={6}>
        {t("test.cost")}
      </Text>
      <div aria-live="polite" className={classes.result}>
        {test.error ? <ErrorState error={test.error} /> : null}
        {test.data ? <Report report={test.data} /> : null}
      </div>
    </>
  );
}

function Report({ report }: { report: TestReport }) {
  const { t } = useTranslation("upstreams");
  const failed = report.steps.find(({ ok }) => !ok);
  return (
    <>
      <Note
        tone={report.ok ? "good" : "bad"}
        title={
          report.ok
            ? t("test.passed", { time: duration(report.duration_ms) })
            : t("test.failed", { step: failed ? t(`test.step.${failed.step}`) : "" })
        }
      >
        {failed?.fix ? sentence(failed.fix) : null}
      </Note>
      <ol className={classes.steps}>
        {report.steps.map((step) => (
          <li key={step.step} className={classes.step}>
            <ToneIcon tone={step.ok ? "good" : "bad"} />
            <span className={classes.name}>{t(`test.step.${step.step}`)}</span>
            <span className={classes.detail}>{sentence(step.detail)}</span>
            <span className={classes.time}>{duration(step.duration_ms)}</span>
          </li>
        ))}
      </ol>
    </>
  );
}
