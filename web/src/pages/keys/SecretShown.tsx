import { Group } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { useVersion } from "@/api/lists";
import type { ApiKeyWithSecret } from "@/api/types";
import { CopyButton } from "@/components/CopyButton";
import { Note } from "@/components/Meaning";
import { gatewayUrl } from "@/components/Snippets";
import { saveFile } from "@/lib/saveFile";
import classes from "./SecretShown.module.css";

/** The only time a secret is seen: copy it, or take it as a file. */
export function SecretShown({ made }: { made: ApiKeyWithSecret }) {
  const { t } = useTranslation("keys");
  const version = useVersion();
  const base = version.data?.api_url ?? gatewayUrl();
  const env = `OPENAI_BASE_URL=${base}/v1\nOPENAI_API_KEY=${made.secret}\n`;
  return (
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
  );
}
