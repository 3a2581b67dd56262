import { Button, Group, Menu, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconDots, IconPlus } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useMay } from "@/api/session";
import type { Credential, CredentialStanding, Upstream } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { TimeText } from "@/components/Figures";
import { FormFailure } from "@/components/form/FormFailure";
import { IconAction } from "@/components/IconAction";
import { State } from "@/components/State";
import { AddCredential } from "./AddCredential";
import classes from "./Credentials.module.css";
import { proxyText } from "./proxies";
import { RotateCredential } from "./RotateCredential";
import { CredentialFigures, CredentialState, isHeld } from "./Standing";

/** The secrets this upstream is called with: they go in, and only their last characters come out. */
export function Credentials({
  upstream,
  standings,
}: {
  upstream: Upstream;
  standings: CredentialStanding[];
}) {
  const { t } = useTranslation("upstreams");
  const may = useMay();
  const [adding, { open, close }] = useDisclosure(false);
  const writes = may("upstream_secrets.write") && upstream.managed_by === "api";
  return (
    <>
      {upstream.credentials.length === 0 ? (
        <Text fz="sm" c="dimmed">
          {t("noCredentialHelp")}
        </Text>
      ) : (
        <ul className={classes.list}>
          {upstream.credentials.map((credential) => (
            <CredentialRow
              key={credential.id}
              credential={credential}
              standing={standings.find((standing) => standing.credential === credential.id)}
              writes={writes}
            />
          ))}
        </ul>
      )}
      {writes ? (
        <Button
          variant="default"
          size="xs"
          mt="xs"
          leftSection={<IconPlus size={14} />}
          onClick={open}
        >
          {t("addCredential")}
        </Button>
      ) : null}
      <AddCredential upstream={upstream} opened={adding} onClose={close} />
    </>
  );
}

function CredentialRow({
  credential,
  standing,
  writes,
}: {
  credential: Credential;
  standing: CredentialStanding | undefined;
  writes: boolean;
}) {
  const { t } = useTranslation(["upstreams", "common"]);
  const changed = useChanged("upstreams");
  const may = useMay();
  const [removing, setRemoving] = useState(false);
  const [rotating, setRotating] = useState(false);
  const reactivate = api.useMutation("post", "/admin/v1/credentials/{id}/reactivate", {
    onSuccess: () => changed(t("standing.reactivated", { name: credential.name })),
  });
  const params = {
    path: { id: credential.upstream_id, credential_id: credential.id },
    header: ifMatch(credential.version),
  };
  const update = api.useMutation("patch", "/admin/v1/upstreams/{id}/credentials/{credential_id}", {
    onSuccess: () => changed(),
  });
  const remove = api.useMutation("delete", "/admin/v1/upstreams/{id}/credentials/{credential_id}", {
    onSuccess: () => {
      setRemoving(false);
      changed(t("credentialRemoved", { name: credential.name }));
    },
  });
  const next = credential.status === "active" ? "disabled" : "active";
  return (
    <li className={classes.row}>
      <div className={classes.words}>
        <Group gap="xs">
          <strong>{credential.name}</strong>
          {standing && credential.status === "active" ? (
            <CredentialState standing={standing} />
          ) : (
            <State value={credential.status} />
          )}
        </Group>
        <Text fz="xs" c="dimmed" className="tg-mono">
          …{credential.last4} · {credential.fingerprint}
          {credential.proxy ? ` · ${proxyText(credential.proxy)}` : ""}
        </Text>
        {standing ? <CredentialFigures standing={standing} /> : null}
        {credential.retires_at ? (
          <Text fz="xs" c="dimmed">
            {t("rotate.retires")} <TimeText at={credential.retires_at} exactly />
          </Text>
        ) : null}
        {standing && isHeld(standing) && may("credentials.reactivate") ? (
          <Button
            variant="default"
            size="compact-xs"
            mt={4}
            loading={reactivate.isPending}
            onClick={() => reactivate.mutate({ params: { path: { id: credential.id } } })}
          >
            {t("standing.reactivate")}
          </Button>
        ) : null}
        <FormFailure error={update.error ?? reactivate.error} />
      </div>
      {writes ? (
        <Menu position="bottom-end">
          <Menu.Target>
            <IconAction label={t("credentialActions", { name: credential.name })}>
              <IconDots size={16} />
            </IconAction>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setRotating(true)}>{t("rotate.act")}</Menu.Item>
            <Menu.Item onClick={() => update.mutate({ params, body: { status: next } })}>
              {t(next === "active" ? "enable" : "disable")}
            </Menu.Item>
            <Menu.Item color="red" onClick={() => setRemoving(true)}>
              {t("common:remove")}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ) : null}
      <RotateCredential
        credential={credential}
        opened={rotating}
        onClose={() => setRotating(false)}
      />
      <ConfirmByName
        opened={removing}
        title={t("credentialRemoveAsk", { name: credential.name })}
        name={credential.name}
        act={t("common:remove")}
        busy={remove.isPending}
        error={remove.error}
        onClose={() => setRemoving(false)}
        onConfirm={() => remove.mutate({ params })}
      >
        <Text fz="md">{t("credentialRemoveEffect")}</Text>
      </ConfirmByName>
    </li>
  );
}
