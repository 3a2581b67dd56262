import { Group, Stack, Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useVersion } from "@/api/lists";
import type { ApiKeyWithSecret } from "@/api/types";
import { CopyButton } from "@/components/CopyButton";
import { FormSection } from "@/components/form/FormPage";
import { ButtonLink } from "@/components/links";
import { Note } from "@/components/Meaning";
import { PageHeader } from "@/components/PageHeader";
import { gatewayUrl, Snippets } from "@/components/Snippets";
import { saveFile } from "@/lib/saveFile";
import classes from "./NewKeyShown.module.css";

/** The only time the secret is seen: copy it, take it as a file, and try it at once. */
export function NewKeyShown({
  made,
  model,
}: {
  made: ApiKeyWithSecret;
  model: string | undefined;
}) {
  const { t } = useTranslation(["keys", "common"]);
  const version = useVersion();
  const base = version.data?.api_url ?? gatewayUrl();
  const env = `OPENAI_BASE_URL=${base}/v1\nOPENAI_API_KEY=${made.secret}\n`;
  return (
    <div className={classes.page}>
      <PageHeader title={t("shown.title", { name: made.name })} purpose={t("shown.purpose")} />
      <Stack gap="lg">
        <Note tone="warning" title={t("shown.once")}>
          <div className={classes.secret} data-testid="secret">
            {made.secret}
          </div>
          <Group gap="xs">
            <CopyButton text={made.secret} label={t("shown.copy")} primary />
            <button
              type="button"
              className={classes.download}
              onClick={() => saveFile(`${made.name}.env`, "text/plain", env)}
            >
              {t("shown.download")}
            </button>
          </Group>
        </Note>
        <FormSection title={t("shown.try")} help={t("shown.tryHelp", { base })}>
          <Snippets secret={made.secret} model={model} base={base} />
        </FormSection>
        <Group>
          <ButtonLink to="/keys" variant="default">
            {t("shown.done")}
          </ButtonLink>
          <Text fz="sm" c="dimmed">
            {t("shown.doneHelp")}
          </Text>
        </Group>
      </Stack>
    </div>
  );
}
