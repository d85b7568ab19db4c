// Package examples checks the examples that other people's programs read. It is a module of its own, so that
// simrun does not need the types of Kubernetes.
package examples

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// objects is what kubernetes.yaml declares, by kind and name.
func objects(t *testing.T, text string) (map[string]any, error) {
	t.Helper()
	all := map[string]any{}
	for _, doc := range strings.Split(text, "\n---\n") {
		var is metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal([]byte(doc), &is))
		object, ok := map[string]any{
			"v1 PersistentVolumeClaim":           &corev1.PersistentVolumeClaim{},
			"networking.k8s.io/v1 NetworkPolicy": &networkingv1.NetworkPolicy{},
			"batch/v1 Job":                       &batchv1.Job{},
		}[is.APIVersion+" "+is.Kind]
		if !ok {
			return nil, fmt.Errorf("there is no %s %s", is.APIVersion, is.Kind)
		}
		if err := yaml.UnmarshalStrict([]byte(doc), object); err != nil {
			return nil, fmt.Errorf("%s: %w", is.Kind, err)
		}
		all[is.Kind+" "+object.(metav1.Object).GetName()] = object
	}
	return all, nil
}

func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile("kubernetes.yaml")
	require.NoError(t, err)
	all, err := objects(t, string(text))
	require.NoError(t, err)
	require.Len(t, all, 4)
	run, merge := all["Job simrun"].(*batchv1.Job), all["Job simrun-merge"].(*batchv1.Job)

	require.Equal(t, batchv1.IndexedCompletion, *run.Spec.CompletionMode)
	parts := *run.Spec.Completions
	script := run.Spec.Template.Spec.Containers[0].Args[0]
	assert.Contains(t, script, "JOB_COMPLETION_INDEX + 1")
	assert.Contains(t, script, fmt.Sprintf(`--shard "$part/%d"`, parts))
	assert.True(t, *run.Spec.Template.Spec.Containers[0].SecurityContext.Privileged)
	assert.Equal(t, run.Spec.Template.Spec.Containers[0].Name, *run.Spec.PodFailurePolicy.Rules[0].OnExitCodes.ContainerName)

	assert.True(t, *merge.Spec.Suspend)
	merged := regexp.MustCompile(`/results/part\d+`).FindAllString(merge.Spec.Template.Spec.Containers[0].Args[0], -1)
	var want []string
	for i := range parts {
		want = append(want, fmt.Sprintf("/results/part%d", i+1))
	}
	assert.Equal(t, want, merged)
	for _, job := range []*batchv1.Job{run, merge} {
		// What the API server refuses: see ValidateJob in pkg/apis/batch/validation of Kubernetes.
		spec := job.Spec.Template.Spec
		assert.Contains(t, []corev1.RestartPolicy{corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure}, spec.RestartPolicy)
		volumes := map[string]bool{}
		for _, v := range spec.Volumes {
			volumes[v.Name] = true
			if c := v.PersistentVolumeClaim; c != nil {
				assert.Contains(t, all, "PersistentVolumeClaim "+c.ClaimName)
			}
		}
		for _, m := range spec.Containers[0].VolumeMounts {
			assert.Contains(t, volumes, m.Name)
		}
		selector := all["NetworkPolicy simrun"].(*networkingv1.NetworkPolicy).Spec.PodSelector.MatchLabels
		assert.Equal(t, selector, job.Spec.Template.Labels)
	}
}

// The check must be able to fail.
func TestKubernetesIsStrict(t *testing.T) {
	text, err := os.ReadFile("kubernetes.yaml")
	require.NoError(t, err)
	for _, wrong := range []struct{ old, new, says string }{
		{"completionMode:", "completionmodus:", `unknown field "completionmodus"`},
		{"completions: 5", `completions: five`, "cannot unmarshal string"},
		{"            privileged: true", "            privileged: true\n            privileged: true", "already set"},
		{"batch/v1", "batch/v2", "there is no batch/v2 Job"},
	} {
		_, err := objects(t, string(bytes.Replace(text, []byte(wrong.old), []byte(wrong.new), 1)))
		assert.ErrorContains(t, err, wrong.says)
	}
}
