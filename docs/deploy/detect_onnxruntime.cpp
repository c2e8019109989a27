// Objects in pictures with an ONNX file (batch 1): detect_onnxruntime best.onnx PICTURE.ppm ...
#include <onnxruntime_cxx_api.h>

#include <iostream>

#include "boxes.hpp"

int main(int count, char** words) try {
    if (count < 3) throw std::runtime_error("usage: detect_onnxruntime best.onnx PICTURE.ppm ...");
    const Contract contract(words[1]);
    Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "detect");
    Ort::Session session(environment, words[1], Ort::SessionOptions());
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::array<int64_t, 4> shape{1, 3, int64_t(contract.number("input", "height")),
                                       int64_t(contract.number("input", "width"))};
    std::vector<std::string> names;
    std::vector<const char*> asked;
    Ort::AllocatorWithDefaultOptions allocator;
    for (size_t i = 0; i < session.GetOutputCount(); ++i)
        names.push_back(session.GetOutputNameAllocated(i, allocator).get());
    for (const std::string& name : names) asked.push_back(name.c_str());

    return show(count, words, contract, [&](std::vector<float>& image) {
        const char* input = "image";
        auto fed = Ort::Value::CreateTensor<float>(memory, image.data(), image.size(), shape.data(), shape.size());
        auto results = session.Run(Ort::RunOptions{nullptr}, &input, &fed, 1, asked.data(), asked.size());
        Outputs outputs;
        for (size_t i = 0; i < names.size(); ++i) {
            const float* first = results[i].GetTensorData<float>();
            outputs[names[i]].assign(first, first + results[i].GetTensorTypeAndShapeInfo().GetElementCount());
        }
        return outputs;
    });
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
}
