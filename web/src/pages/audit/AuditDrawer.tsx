import { Text } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { AuditEvent } from "@/api/types";
import { DetailDrawer, DrawerSection, Facts } from "@/components/DetailDrawer";
import { TimeText } from "@/components/Figures";
import { Id } from "@/components/Id";
import classes from "./AuditDrawer.module.css";
import { useActionWords } from "./actions";
import { type Difference, differences } from "./diff";

export function AuditDrawer({
  event,
  onClose,
}: {
  event: AuditEvent | undefined;
  onClose: () => void;
}) {
  const action = useActionWords();
  return (
    <DetailDrawer
      opened={event !== undefined}
      onClose={onClose}
      title={event ? action(event.action) : ""}
      subtitle={event ? <Id value={event.id} full /> : null}
    >
      {event ? <Detail event={event} /> : null}
    </DetailDrawer>
  );
}

function Detail({ event }: { event: AuditEvent }) {
  const { t } = useTranslation(["audit", "common"]);
  const { actor } = event;
  const role = (["owner", "admin", "finance", "ops", "auditor"] as const).find(
    (known) => known === actor.role,
  );
  return (
    <>
      <DrawerSection title={t("about")}>
        <Facts
          rows={[
            [
              t("who"),
              [actor.name ?? actor.kind, role ? t(`common:role.${role}`) : null]
                .filter(Boolean)
                .join(", "),
            ],
            [t("when"), <TimeText key="t" at={event.at} exactly />],
            [t("ip"), event.ip ?? "–"],
            [t("reason"), event.reason ?? t("noReason")],
            [t("target"), event.target_name ?? "–"],
            [t("targetId"), event.target_id ? <Id key="i" value={event.target_id} full /> : "–"],
            [t("request"), event.request_id ? <Id key="r" value={event.request_id} full /> : "–"],
            [t("action"), <code key="a">{event.action}</code>],
          ]}
        />
      </DrawerSection>
      <DrawerSection title={t("changes")}>
        <Changes changes={differences(event.before, event.after)} />
      </DrawerSection>
    </>
  );
}

/** Each field with what it was and what it is; the words carry the meaning, the colour helps. */
function Changes({ changes }: { changes: Difference[] }) {
  const { t } = useTranslation("audit");
  if (changes.length === 0) {
    return (
      <Text fz="sm" c="dimmed">
        {t("noChange")}
      </Text>
    );
  }
  return (
    <dl className={classes.changes}>
      {changes.map(({ path, before, after }) => (
        <div key={path} className={classes.change}>
          <dt>{path}</dt>
          {before === null ? null : (
            <dd className={classes.before}>
              <span className={classes.sign}>−</span>
              <del>{before}</del>
            </dd>
          )}
          {after === null ? null : (
            <dd className={classes.after}>
              <span className={classes.sign}>+</span>
              <ins>{after}</ins>
            </dd>
          )}
        </div>
      ))}
    </dl>
  );
}
