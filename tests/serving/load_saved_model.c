// Runs one signature of a SavedModel without Python, through the C library's session loader.
//
// usage: load_saved_model EXPORT (in|out) OPERATION INDEX FILE ...
//
// A tensor file is: int32 type, int32 rank, int64 sizes[rank], then the raw numbers, or for each
// string an int64 length and its bytes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { MAXIMUM = 16 };

static void fail(const char* what, const char* detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(1);
}

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static void read_exactly(void* to, size_t size, FILE* file, const char* path) {
  if (size && fread(to, 1, size, file) != size) fail("short file", path);
}

static TF_Tensor* read_tensor(const char* path) {
  FILE* file = fopen(path, "rb");
  if (!file) fail("can't open", path);
  int32_t head[2];
  int64_t sizes[MAXIMUM];
  read_exactly(head, sizeof head, file, path);
  if (head[1] < 0 || head[1] > MAXIMUM) fail("bad rank", path);
  read_exactly(sizes, head[1] * sizeof *sizes, file, path);
  int64_t count = 1;
  for (int i = 0; i < head[1]; ++i) count *= sizes[i];
  TF_DataType type = (TF_DataType)head[0];
  size_t width = type == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(type);
  TF_Tensor* tensor = TF_AllocateTensor(type, sizes, head[1], count * width);
  if (type == TF_STRING) {
    TF_TString* strings = TF_TensorData(tensor);
    for (int64_t i = 0; i < count; ++i) {
      int64_t length;
      read_exactly(&length, sizeof length, file, path);
      char* bytes = malloc(length + 1);
      read_exactly(bytes, length, file, path);
      TF_StringInit(&strings[i]);
      TF_StringCopy(&strings[i], bytes, length);
      free(bytes);
    }
  } else {
    read_exactly(TF_TensorData(tensor), count * width, file, path);
  }
  fclose(file);
  return tensor;
}

static void write_tensor(const TF_Tensor* tensor, const char* path) {
  FILE* file = fopen(path, "wb");
  if (!file) fail("can't create", path);
  int32_t head[2] = {TF_TensorType(tensor), TF_NumDims(tensor)};
  fwrite(head, sizeof head, 1, file);
  for (int i = 0; i < head[1]; ++i) {
    int64_t size = TF_Dim(tensor, i);
    fwrite(&size, sizeof size, 1, file);
  }
  if (TF_TensorType(tensor) == TF_STRING) {
    const TF_TString* strings = TF_TensorData(tensor);
    for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) {
      int64_t length = TF_StringGetSize(&strings[i]);
      fwrite(&length, sizeof length, 1, file);
      fwrite(TF_StringGetDataPointer(&strings[i]), 1, length, file);
    }
  } else {
    fwrite(TF_TensorData(tensor), 1, TF_TensorByteSize(tensor), file);
  }
  if (fclose(file)) fail("can't write", path);
}

int main(int argc, char** argv) {
  if (argc < 2 || argc % 4 != 2) fail("usage", "EXPORT (in|out) OPERATION INDEX FILE ...");
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  TF_Output feeds[MAXIMUM], fetches[MAXIMUM];
  TF_Tensor *inputs[MAXIMUM], *outputs[MAXIMUM];
  const char* files[MAXIMUM];
  int in = 0, out = 0;
  for (int i = 2; i < argc; i += 4) {
    TF_Output port = {TF_GraphOperationByName(graph, argv[i + 1]), atoi(argv[i + 2])};
    if (!port.oper) fail("no such operation", argv[i + 1]);
    if (in == MAXIMUM || out == MAXIMUM) fail("usage", "too many tensors");
    if (!strcmp(argv[i], "in")) {
      feeds[in] = port;
      inputs[in++] = read_tensor(argv[i + 3]);
    } else {
      fetches[out] = port;
      files[out++] = argv[i + 3];
    }
  }
  TF_SessionRun(session, NULL, feeds, inputs, in, fetches, outputs, out, NULL, 0, NULL, status);
  check(status, "run");
  for (int i = 0; i < out; ++i) write_tensor(outputs[i], files[i]);

  for (int i = 0; i < in; ++i) TF_DeleteTensor(inputs[i]);
  for (int i = 0; i < out; ++i) TF_DeleteTensor(outputs[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  check(status, "close");
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
