// Objects in pictures with an NCNN file: detect_ncnn best.ncnn.param PICTURE.ppm ...
#include <net.h>

#include <iostream>

#include "boxes.hpp"

int main(int count, char** words) try {
    if (count < 3) throw std::runtime_error("usage: detect_ncnn best.ncnn.param PICTURE.ppm ...");
    const std::string param = words[1], bin = param.substr(0, param.rfind('.')) + ".bin";
    const Contract contract(param);
    const int height = int(contract.number("input", "height")), width = int(contract.number("input", "width"));
    ncnn::Net network;
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = false;  // FP32
    if (network.load_param(param.c_str()) || network.load_model(bin.c_str()))
        throw std::runtime_error("NCNN cannot read " + param + " with " + bin);

    return show(count, words, contract, [&](std::vector<float>& image) {
        ncnn::Mat fed(width, height, 3);
        for (int c = 0; c < 3; ++c)
            std::copy_n(image.begin() + long(c) * height * width, height * width, static_cast<float*>(fed.channel(c)));
        auto extractor = network.create_extractor();
        extractor.input("image", fed);
        Outputs outputs;
        for (const char* name : network.output_names()) {
            ncnn::Mat result;
            if (extractor.extract(name, result)) throw std::runtime_error("NCNN cannot compute " + std::string(name));
            for (int row = 0; row < result.h; ++row)
                outputs[name].insert(outputs[name].end(), result.row(row), result.row(row) + result.w);
        }
        return outputs;
    });
} catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 2;
}
