import { Menu, Stack, Text } from "@mantine/core";
import { IconDots } from "@tabler/icons-react";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { ifMatch, useChanged } from "@/api/changes";
import { api } from "@/api/client";
import { useProjects } from "@/api/lists";
import { useMay } from "@/api/session";
import type { Project, Tenant } from "@/api/types";
import { ConfirmByName } from "@/components/ConfirmByName";
import { ErrorState } from "@/components/ErrorState";
import { CountText } from "@/components/Figures";
import { FormFailure } from "@/components/form/FormFailure";
import { IconAction } from "@/components/IconAction";
import { PanelTable } from "@/components/PanelTable";
import { State } from "@/components/State";
import { ProjectForm } from "./ProjectForm";

/** What the tenant does for one purpose each, with bounds beside the tenant's own. */
export function Projects({ tenant }: { tenant: Tenant }) {
  const { t } = useTranslation(["tenants", "common"]);
  const may = useMay();
  const [editing, setEditing] = useState<Project | "new">();
  const [removing, setRemoving] = useState<Project>();
  const changed = useChanged("projects");
  const projects = useProjects(tenant.id);
  const turn = api.useMutation("patch", "/admin/v1/projects/{id}", { onSuccess: () => changed() });
  const writes = may("projects.write");
  if (projects.error)
    return <ErrorState error={projects.error} onRetry={() => void projects.refetch()} />;
  const onTurn = (project: Project) =>
    turn.mutate({
      params: { path: { id: project.id }, header: ifMatch(project.version) },
      body: { status: project.status === "active" ? "archived" : "active" },
    });
  return (
    <>
      <FormFailure error={turn.error} />
      <PanelTable
        label={t("projects.title")}
        empty={t("projects.empty")}
        head={[
          t("common:name"),
          t("common:status"),
          t("common:limits.requests_per_minute"),
          t("common:limits.tokens_per_minute"),
          t("common:limits.concurrency"),
        ]}
        rows={projects.data?.data.map((project) => ({
          key: project.id,
          cells: [
            <Named key="name" project={project} />,
            <State key="status" value={project.status} />,
            <CountText key="rpm" value={project.limits.requests_per_minute} whole />,
            <CountText key="tpm" value={project.limits.tokens_per_minute} whole />,
            <CountText key="concurrency" value={project.limits.concurrency} whole />,
          ],
          menu: (
            <ProjectMenu
              project={project}
              onEdit={() => setEditing(project)}
              onTurn={() => onTurn(project)}
              onRemove={() => setRemoving(project)}
            />
          ),
        }))}
        add={writes ? { label: t("projects.add"), onAdd: () => setEditing("new") } : undefined}
      />
      {editing ? (
        <ProjectForm
          tenant={tenant}
          project={editing === "new" ? undefined : editing}
          onClose={() => setEditing(undefined)}
        />
      ) : null}
      {removing ? (
        <RemoveProject project={removing} onClose={() => setRemoving(undefined)} />
      ) : null}
    </>
  );
}

function Named({ project }: { project: Project }) {
  return (
    <Stack gap={0}>
      <strong>{project.name}</strong>
      {project.allowed_models ? (
        <Text fz="xs" c="dimmed">
          {project.allowed_models.join(", ")}
        </Text>
      ) : null}
    </Stack>
  );
}

/** What the file declares can only be archived here. */
function ProjectMenu({
  project,
  onEdit,
  onTurn,
  onRemove,
}: {
  project: Project;
  onEdit: () => void;
  onTurn: () => void;
  onRemove: () => void;
}) {
  const { t } = useTranslation(["tenants", "common"]);
  const ours = project.managed_by === "api";
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <IconAction label={t("projects.actions", { name: project.name })}>
          <IconDots size={16} />
        </IconAction>
      </Menu.Target>
      <Menu.Dropdown>
        {ours ? <Menu.Item onClick={onEdit}>{t("common:edit")}</Menu.Item> : null}
        <Menu.Item onClick={onTurn}>
          {t(project.status === "active" ? "projects.archive" : "projects.restore")}
        </Menu.Item>
        {ours ? (
          <Menu.Item color="red" onClick={onRemove}>
            {t("common:remove")}
          </Menu.Item>
        ) : null}
      </Menu.Dropdown>
    </Menu>
  );
}

function RemoveProject({ project, onClose }: { project: Project; onClose: () => void }) {
  const { t } = useTranslation(["tenants", "common"]);
  const changed = useChanged("projects");
  const { name } = project;
  const remove = api.useMutation("delete", "/admin/v1/projects/{id}", {
    onSuccess: () => {
      onClose();
      changed(t("projects.removed", { name }));
    },
  });
  return (
    <ConfirmByName
      opened
      title={t("projects.removeAsk", { name })}
      name={name}
      act={t("common:remove")}
      busy={remove.isPending}
      error={remove.error}
      onClose={onClose}
      onConfirm={() =>
        remove.mutate({
          params: { path: { id: project.id }, header: ifMatch(project.version) },
        })
      }
    >
      <Text fz="md">{t("projects.removeEffect")}</Text>
    </ConfirmByName>
  );
}
